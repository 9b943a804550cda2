"""The text form of a plan, made from its JSON form by the rules of PostgreSQL (explain.c).

PostgreSQL answers one form, and executes an analyzed statement again for another one.
"""

from db.workbench.plans.text_form.plan_text import plan_text

__all__ = ["plan_text"]
