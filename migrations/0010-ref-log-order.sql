-- The log of a repository, newest first, page by page.
CREATE INDEX ref_log_order ON ref_log (repo_id, id);
