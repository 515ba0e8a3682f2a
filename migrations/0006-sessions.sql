-- Who is signed in with a browser. A session lives as long as the token it was opened with, and no longer than it says.

CREATE TABLE sessions (
  hash        bytea PRIMARY KEY CHECK (length(hash) = 32),  -- SHA-256 of the id; the id itself is only in the cookie
  token_id    bigint NOT NULL REFERENCES tokens ON DELETE CASCADE,
  created_at  timestamptz NOT NULL DEFAULT now(),
  expires_at  timestamptz NOT NULL
);
CREATE INDEX sessions_token ON sessions (token_id);
CREATE INDEX sessions_expiry ON sessions (expires_at);
