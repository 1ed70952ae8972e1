"""Tokens of an identity provider that the judge is itself: one ES256 key, the same for both stacks."""

import base64
import hashlib
import json
import time
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

# What `local`'s own issuer writes, so that tokens of one form are good for both stacks.
ISSUER = "http://localhost/chatlane-local"
AUDIENCE = "chatlane"
LEEWAY_S = 60  # docs/PROTOCOL.md §2


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs tokens. The same key may be written where `local` keeps its own, and its public half be given to a deployment."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        numbers = self.key.public_key().public_numbers()
        self.public = {"crv": "P-256", "kty": "EC", "x": encoded(numbers.x.to_bytes(32, "big")), "y": encoded(numbers.y.to_bytes(32, "big"))}
        # RFC 7638: the required members in lexicographic order, without white space.
        self.id = encoded(hashlib.sha256(json.dumps(self.public, separators=(",", ":"), sort_keys=True).encode()).digest())

    def key_set(self) -> str:
        """The public key set, RFC 7517."""
        return json.dumps({"keys": [self.public | {"alg": "ES256", "use": "sig", "kid": self.id}]}, separators=(",", ":"))

    def write_key(self, path: Path) -> None:
        """The private key as PKCS #8, readable by its owner only."""
        path.touch(mode=0o600)
        path.write_bytes(self.key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))

    def token(self, user: str, expires_in_s: float = 3600, **claims: object) -> str:
        """A token for `user`. Claims that are given win over the usual ones."""
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": user, "iat": now, "exp": int(now + expires_in_s)}
        return self.signed({"alg": "ES256", "kid": self.id}, usual | claims)

    def cognito(self, user: str, use: str, **claims: object) -> str:
        """A token with the claims of a Cognito user pool's (developer guide, "Understanding user pool JSON web tokens"): an id token says for
        whom it is in `aud`, an access token in `client_id`."""
        now = int(time.time())
        common = {"iss": ISSUER, "sub": user, "iat": now, "auth_time": now, "exp": now + 3600, "jti": "j", "event_id": "e", "token_use": use}
        own = {"client_id": AUDIENCE, "username": user, "scope": "openid"} if use == "access" else {
            "aud": AUDIENCE, "cognito:username": user, "email": "grace@example.com", "email_verified": True}
        return self.signed({"alg": "ES256", "kid": self.id}, common | own | claims)

    def signed(self, header: dict, claims: dict) -> str:
        """A token with exactly these."""
        text = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
        r, s = decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"
