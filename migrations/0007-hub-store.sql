-- The one store whose bytes the rows of this database mean. The same id stands in the store itself.

CREATE TABLE hub_store (
  singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  store_id  uuid NOT NULL,
  -- The id stands in the store. Until then the first hub that starts puts it there.
  marked    boolean NOT NULL DEFAULT false
);
