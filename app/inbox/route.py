"""The route of this door: whoever reads its inbox or answers from it has been heard of; the queues show when."""

from app.access.routes import AccessRoute
from app.referrals.presence import Presence
from app.web.routing import StrictRequest


class InboxRoute(AccessRoute):
    """A route that notes, in memory, that the caller's party was heard of."""

    async def before_body(self, request: StrictRequest) -> None:
        """Authenticate and authorise, then note the party."""
        await super().before_body(request)
        presence: Presence = request.app.state.presence
        presence.note(request.state.principal.party)
