"""Who may come in: sessions, users, tokens, the audit."""

from typing import Final

from router.api import accounts
from router.api.endpoints import Endpoint

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        method="POST",
        path="/login",
        handler=accounts.sign_in,
        needs="nothing",
        summary="Start a session in a browser",
        body=accounts.SignIn,
        answer=accounts.SignedIn,
    ),
    Endpoint(
        method="POST",
        path="/logout",
        handler=accounts.sign_out,
        needs="viewer",
        summary="End the session",
        status=204,
    ),
    Endpoint(
        method="GET",
        path="/me",
        handler=accounts.me,
        needs="viewer",
        summary="Who asks",
        answer=accounts.Me,
    ),
    Endpoint(
        method="GET",
        path="/users",
        handler=accounts.list_users,
        needs="admin",
        summary="The users of the tenant",
        answer=accounts.UsersShown,
    ),
    Endpoint(
        method="POST",
        path="/users",
        handler=accounts.add_user,
        needs="admin",
        summary="Add a user",
        body=accounts.NewUser,
        answer=accounts.UserShown,
        status=201,
    ),
    Endpoint(
        method="PATCH",
        path="/users/{email}",
        handler=accounts.change_user,
        needs="admin",
        summary="Change a user; their sessions end",
        body=accounts.ChangedUser,
        status=204,
    ),
    Endpoint(
        method="GET",
        path="/tokens",
        handler=accounts.list_tokens,
        needs="admin",
        summary="The tokens of the tenant",
        answer=accounts.TokensShown,
    ),
    Endpoint(
        method="POST",
        path="/tokens",
        handler=accounts.add_token,
        needs="admin",
        summary="Make a token; its secret is shown once",
        body=accounts.NewToken,
        answer=accounts.TokenMade,
        status=201,
    ),
    Endpoint(
        method="DELETE",
        path="/tokens/{id}",
        handler=accounts.revoke_token,
        needs="admin",
        summary="End a token at once",
        status=204,
    ),
    Endpoint(
        method="GET",
        path="/audit",
        handler=accounts.list_deeds,
        needs="admin",
        summary="Who changed what",
        answer=accounts.DeedsShown,
    ),
)
