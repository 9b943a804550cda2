"""Adds events: an act may concern another user than the one who acts, or no user at all."""

from sqlalchemy import Text, Uuid, bindparam, text

from db.postgres.statements import compile_change

INSERT = compile_change(
    text("""INSERT INTO audit_events
        (id, owner_id, kind, outcome, actor_id, actor_email, session_id, token_id, request_id,
         address, subject_id, subject_name, details)
        VALUES (:id, :owner_id, :kind, :outcome, :actor_id,
            (SELECT email FROM users WHERE id = :actor_id), :session_id, :token_id, :request_id,
            :address, :subject_id,
            coalesce(:subject_name, (SELECT coalesce(email, name) FROM users
                WHERE id = :subject_id), ''), :details)""").bindparams(
        *(bindparam(name, type_=Uuid()) for name in ("id", "owner_id", "actor_id")),
        *(bindparam(name, type_=Uuid()) for name in ("session_id", "token_id", "subject_id")),
        *(
            bindparam(name, type_=Text())
            for name in ("kind", "outcome", "request_id", "address", "subject_name", "details")
        ),
    ),
    unscoped=True,
)
