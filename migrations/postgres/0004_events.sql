-- What happens is told to others: written with the change itself, put in order, delivered.

-- What was written in the transaction of a change and has no place in the log yet.
CREATE TABLE outbox (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    -- The stage that it is ordered with, or ''.
    stage_id TEXT COLLATE "C" NOT NULL,
    -- Which of that stage's it is; without a stage, when it was written.
    number BIGINT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    -- event or audit.
    kind TEXT NOT NULL,
    -- The envelope, as it is sent.
    body TEXT NOT NULL,
    written_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, stage_id, number, id)
);

-- The log: one order for everything, so that a place in it is one number. Of the service, not of an account.
CREATE TABLE events (
    position BIGINT NOT NULL PRIMARY KEY,
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    stage_id TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    written_at BIGINT NOT NULL
);
CREATE INDEX events_of_account ON events (account, region, position);
CREATE INDEX events_by_time ON events (written_at, position);

-- The last position of the log. Whoever adds to the log holds the row until the end.
CREATE TABLE counters (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);

-- Where events go, by the names in the operator's file.
CREATE TABLE event_targets (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- Every event up to this position is delivered, parked or none of the target's business.
    position BIGINT NOT NULL,
    -- The node that delivers, and until when it is the one.
    node_id TEXT NOT NULL,
    lease_ends_at BIGINT NOT NULL,
    delivered BIGINT NOT NULL,
    delivered_at BIGINT,
    -- What went wrong last, or ''.
    error TEXT NOT NULL,
    error_at BIGINT,
    -- Since when nothing was taken although it was tried; NULL while things are.
    failing_since BIGINT
);

-- Events that a target did not take: to be tried again, or dead.
CREATE TABLE deliveries (
    target TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    stage_id TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    -- From when on the time runs that it is tried for.
    since BIGINT NOT NULL,
    -- When it is due; far away while it waits behind another of its stage.
    next_at BIGINT NOT NULL,
    -- When it was given up; NULL while it is tried.
    dead_at BIGINT,
    error TEXT NOT NULL,
    PRIMARY KEY (target, position)
);
CREATE INDEX deliveries_waiting ON deliveries (target, account, region, stage_id, position) WHERE dead_at IS NULL;
CREATE INDEX deliveries_due ON deliveries (target, next_at, position) WHERE dead_at IS NULL;
CREATE INDEX deliveries_dead ON deliveries (target, position) WHERE dead_at IS NOT NULL;
CREATE INDEX deliveries_by_position ON deliveries (position);

-- How many events a stage has had: the number of the last one.
ALTER TABLE stage_changes ADD COLUMN events BIGINT NOT NULL DEFAULT 0;

-- When something is to be told of a composition next, or it is to be forgotten. How much of its course has been told: 0
-- nothing, 1 its start, 2 its end. Why it failed, or ''.
ALTER TABLE compositions ADD COLUMN next_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE compositions ADD COLUMN told BIGINT NOT NULL DEFAULT 0;
ALTER TABLE compositions ADD COLUMN error_code TEXT NOT NULL DEFAULT '';
CREATE INDEX compositions_due ON compositions (next_at);

-- Since when the recording of a participant goes on; NULL while it does not.
ALTER TABLE participants ADD COLUMN recording_started_at BIGINT;
