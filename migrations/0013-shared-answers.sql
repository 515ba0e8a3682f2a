-- Packs that answered clones and were made for them, kept in the store for hubs that have not made them. What is gone is made again.
CREATE TABLE shared_answer (
  repo_id      bigint NOT NULL REFERENCES repositories,
  purge_epoch  bigint NOT NULL,
  -- SHA-256 of all that shapes the answer beside the repository and the epoch.
  request      bytea NOT NULL CHECK (length(request) = 32),
  key          text COLLATE "C" NOT NULL REFERENCES stored_blob,
  bytes        bigint NOT NULL,
  used_at      timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (repo_id, purge_epoch, request)
);
CREATE INDEX shared_answer_key ON shared_answer (key);
CREATE INDEX shared_answer_used ON shared_answer (used_at);
