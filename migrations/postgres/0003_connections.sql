-- Participants' connections, and the nodes that hold them.

-- Servers that share this store; of the service, not of an account.
CREATE TABLE nodes (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- Where clients reach it.
    url TEXT NOT NULL,
    -- When it is taken for dead, unless it gives a sign of life before.
    expires_at BIGINT NOT NULL,
    -- Dead for good: what it held is ended, and it goes on under another id if it lives.
    dead BOOLEAN NOT NULL
);

-- Which node has the media of a stage, for as long as somebody publishes to it.
CREATE TABLE media_homes (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    stage_id TEXT NOT NULL,
    node_id TEXT NOT NULL,
    PRIMARY KEY (account, region, stage_id)
);
CREATE INDEX media_homes_by_node ON media_homes (node_id);

CREATE TABLE connections (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    stage_id TEXT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    participant_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    node_id TEXT NOT NULL,
    -- EVENTS, PUBLISH or SUBSCRIBE.
    kind TEXT NOT NULL,
    -- Whom it subscribes to, or ''.
    remote_id TEXT NOT NULL,
    -- The connection token that it was opened with, or ''.
    connection_token_id TEXT NOT NULL,
    -- Whether media have come, or can go.
    started BOOLEAN NOT NULL,
    opened_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, stage_id, id)
);
CREATE INDEX connections_by_node ON connections (node_id, account, region, stage_id);
CREATE INDEX connections_by_participant ON connections (account, region, stage_id, participant_id);
CREATE INDEX connections_publishing ON connections (account, region, stage_id, participant_id) WHERE kind = 'PUBLISH';
CREATE INDEX connections_subscribing ON connections (account, region, stage_id, participant_id) WHERE kind = 'SUBSCRIBE';
CREATE INDEX connections_by_token ON connections (account, region, connection_token_id)
    WHERE connection_token_id <> '';

-- When who is in a stage, or connected to it, changed last; what is left of a stage that was deleted.
CREATE TABLE stage_changes (
    account TEXT COLLATE "C" NOT NULL,
    region TEXT COLLATE "C" NOT NULL,
    stage_id TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    deleted BOOLEAN NOT NULL,
    PRIMARY KEY (account, region, stage_id)
);
CREATE INDEX stage_changes_by_time ON stage_changes (changed_at, account, region, stage_id);
CREATE INDEX stage_changes_deleted ON stage_changes (changed_at) WHERE deleted;

-- The token that a participant has exchanged its first one for, or null.
ALTER TABLE participants ADD COLUMN token JSONB NOT NULL DEFAULT 'null';
CREATE INDEX participants_connected ON participants (account, region, stage_id, session_id, first_joined_at, id)
    WHERE state = 'CONNECTED';

-- When the session ends unless somebody comes, or publishes, before.
ALTER TABLE sessions ADD COLUMN ends_at BIGINT;
CREATE INDEX sessions_due ON sessions (ends_at) WHERE ended_at IS NULL AND ends_at IS NOT NULL;
CREATE INDEX replications_due ON replications (ends_at) WHERE state = 'ACTIVE' AND ends_at IS NOT NULL;
