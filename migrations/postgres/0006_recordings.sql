-- Recordings of participants: one row for everything under one prefix of a bucket.
CREATE TABLE recordings (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    stage_id TEXT COLLATE "C" NOT NULL,
    -- The session in which it began, which its prefix contains.
    session_id TEXT COLLATE "C" NOT NULL,
    -- The participant's latest session: after a reconnection it may be another one.
    current_session_id TEXT COLLATE "C" NOT NULL,
    participant_id TEXT COLLATE "C" NOT NULL,
    -- The publishing connection whose media are recorded; of a replica, its source's.
    connection_id TEXT COLLATE "C" NOT NULL,
    storage_id TEXT COLLATE "C" NOT NULL,
    bucket TEXT NOT NULL,
    prefix TEXT NOT NULL,
    -- The stage's configuration when the latest publication started.
    recording JSONB NOT NULL,
    state TEXT NOT NULL,
    -- The node that records it (its owner), or ''.
    node_id TEXT COLLATE "C" NOT NULL,
    -- When the first publication started.
    created_at BIGINT NOT NULL,
    -- Since when media are written.
    started_at BIGINT,
    -- While the participant does not publish: when it stopped, and the end of the reconnect window.
    unpublished_at BIGINT,
    resume_until BIGINT,
    -- Whether the storage has everything of the publications that have ended.
    uploaded BOOLEAN NOT NULL,
    ended_at BIGINT,
    -- Length of the recorded media, as of the latest publication that has ended.
    duration_ms BIGINT NOT NULL,
    next_thumbnail BIGINT NOT NULL,
    -- Why it failed, or ''.
    error_code TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (account, region, id)
);
CREATE INDEX recordings_of_participant ON recordings (account, region, stage_id, participant_id);
CREATE INDEX recordings_by_age ON recordings (created_at, id);
CREATE INDEX recordings_open ON recordings (id) WHERE ended_at IS NULL;
