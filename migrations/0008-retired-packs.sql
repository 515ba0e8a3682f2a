-- Packs that were folded or collected stay readable for a day, and then their rows go.
CREATE INDEX packs_retired ON packs (retired_at) WHERE state = 'retired';
