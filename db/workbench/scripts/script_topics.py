"""The topic on which the changes of a script are published."""

from uuid import UUID

from db.events import EventBus


def topic_of_script(script_id: UUID) -> str:
    return f"script:{script_id.hex}"


async def publish_script(events: EventBus, script_id: UUID) -> None:
    await events.publish(topic_of_script(script_id))
