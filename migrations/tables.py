"""All tables together, for migrations and for tests that compare the two."""

from app.attempts import models as attempts
from app.audit import models as audit
from app.budgets import models as budgets
from app.core.db import Base
from app.files import models as files
from app.health import models as health
from app.idempotency import models as idempotency
from app.intake import models as intake
from app.jobs import models as jobs
from app.outbox import models as outbox
from app.ratelimit import models as ratelimit
from app.retention import models as retention
from app.retrieval import models as retrieval
from app.schedules import models as schedules
from app.scheduling import models as scheduling
from app.secrets import models as secrets
from app.switches import models as switches
from app.tenants import models as tenants
from app.tools import models as tools
from app.usage import models as usage
from app.webhooks import models as webhooks
from app.workflows import models as workflows

ROOMS = (
    attempts, audit, budgets, files, health, idempotency, intake, jobs, outbox, ratelimit, retention,
    retrieval, schedules, scheduling, secrets, switches, tenants, tools, usage, webhooks, workflows,
)  # fmt: skip
METADATA = Base.metadata
