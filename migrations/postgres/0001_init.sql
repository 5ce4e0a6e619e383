-- Every tenant table's primary key begins with the account and the region, so that the tables can be distributed by
-- account. Times are milliseconds since 1970. Ids are made by the application.

-- A row is locked, by touching it, for as long as a transaction needs to be alone with what it names.
CREATE TABLE locks (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (account, region, name)
);

CREATE TABLE signing_keys (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    created_at BIGINT NOT NULL,
    -- The private key, encrypted with the master key.
    sealed TEXT NOT NULL
);

CREATE TABLE stages (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    tags JSONB NOT NULL,
    recording JSONB NOT NULL,
    -- The storage configuration that recording uses, or ''.
    recording_storage_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    -- Since when nobody publishes; of no meaning while somebody does.
    quiet_since BIGINT NOT NULL,
    PRIMARY KEY (account, region, id)
);
CREATE INDEX stages_by_age ON stages (account, region, created_at, id);
CREATE INDEX stages_by_storage ON stages (account, region, recording_storage_id) WHERE recording_storage_id <> '';

CREATE TABLE sessions (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    stage_id TEXT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    PRIMARY KEY (account, region, stage_id, id)
);
CREATE UNIQUE INDEX sessions_open ON sessions (account, region, stage_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_by_age ON sessions (account, region, stage_id, started_at, id);

CREATE TABLE participants (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    stage_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    user_id TEXT NOT NULL,
    attributes JSONB NOT NULL,
    state TEXT NOT NULL,
    published BOOLEAN NOT NULL,
    publishing BOOLEAN NOT NULL,
    -- Whom the participant is subscribed to: a list of participant ids.
    subscriptions JSONB NOT NULL,
    first_joined_at BIGINT NOT NULL,
    -- How many events the participant has; the next one's number.
    events BIGINT NOT NULL,
    client JSONB NOT NULL,
    protocol TEXT NOT NULL,
    recording_state TEXT NOT NULL,
    recording_bucket TEXT NOT NULL,
    recording_prefix TEXT NOT NULL,
    replication_type TEXT NOT NULL,
    replication_state TEXT NOT NULL,
    source_stage_id TEXT NOT NULL,
    source_session_id TEXT NOT NULL,
    redundant_ingest BOOLEAN NOT NULL,
    ingest_configuration_id TEXT NOT NULL,
    PRIMARY KEY (account, region, stage_id, session_id, id)
);
CREATE INDEX participants_by_age ON participants (account, region, stage_id, session_id, first_joined_at, id);
CREATE INDEX participants_by_user ON participants (account, region, stage_id, session_id, user_id, first_joined_at, id);
CREATE INDEX participants_publishing ON participants (account, region, stage_id, session_id, id) WHERE publishing;

CREATE TABLE participant_events (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    stage_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    participant_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    event JSONB NOT NULL,
    PRIMARY KEY (account, region, stage_id, session_id, participant_id, number)
);

CREATE TABLE revoked_participants (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    stage_id TEXT NOT NULL,
    participant_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    revoked_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, stage_id, participant_id)
);

CREATE TABLE revoked_connection_tokens (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    id TEXT NOT NULL,
    revoked_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, id)
);

CREATE TABLE public_keys (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    material TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    tags JSONB NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, id)
);
CREATE UNIQUE INDEX public_keys_by_fingerprint ON public_keys (account, region, fingerprint);
CREATE INDEX public_keys_by_age ON public_keys (account, region, created_at, id);

CREATE TABLE encoder_configurations (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    video JSONB NOT NULL,
    tags JSONB NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, id)
);
CREATE INDEX encoder_configurations_by_age ON encoder_configurations (account, region, created_at, id);

CREATE TABLE storage_configurations (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    bucket TEXT NOT NULL,
    tags JSONB NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, id)
);
CREATE INDEX storage_configurations_by_age ON storage_configurations (account, region, created_at, id);

CREATE TABLE ingest_configurations (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    name TEXT NOT NULL,
    -- The stage it feeds, or ''.
    stage_id TEXT NOT NULL,
    participant_id TEXT NOT NULL,
    protocol TEXT NOT NULL,
    stream_key TEXT NOT NULL,
    -- Two of them when ingest is redundant, else an empty list.
    credentials JSONB NOT NULL,
    redundant BOOLEAN NOT NULL,
    state TEXT NOT NULL,
    user_id TEXT NOT NULL,
    attributes JSONB NOT NULL,
    tags JSONB NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, id)
);
CREATE INDEX ingest_configurations_by_age ON ingest_configurations (account, region, created_at, id);
CREATE INDEX ingest_configurations_by_stage ON ingest_configurations (account, region, stage_id) WHERE stage_id <> '';

CREATE TABLE compositions (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    stage_id TEXT NOT NULL,
    layout JSONB NOT NULL,
    destinations JSONB NOT NULL,
    tags JSONB NOT NULL,
    channel_encoder_id TEXT NOT NULL,
    s3_encoder_id TEXT NOT NULL,
    storage_id TEXT NOT NULL,
    -- What the client sent to be recognised by, or '', and a digest of the request that it was sent with.
    idempotency_token TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    -- When it began to stop; NULL while nothing has stopped it.
    stopping_at BIGINT,
    PRIMARY KEY (account, region, id)
);
CREATE UNIQUE INDEX compositions_by_token ON compositions (account, region, idempotency_token) WHERE idempotency_token <> '';
CREATE INDEX compositions_by_age ON compositions (account, region, started_at, id);
CREATE INDEX compositions_by_stage ON compositions (account, region, stage_id);

CREATE TABLE replications (
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    source_stage_id TEXT NOT NULL,
    participant_id TEXT NOT NULL,
    destination_stage_id TEXT COLLATE "C" NOT NULL,
    source_session_id TEXT NOT NULL,
    destination_session_id TEXT NOT NULL,
    state TEXT NOT NULL,
    reconnect_window_seconds BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    -- While the source does not publish: when the reconnect window has run out.
    ends_at BIGINT,
    PRIMARY KEY (account, region, source_stage_id, participant_id, destination_stage_id)
);
CREATE INDEX replications_by_destination ON replications (account, region, destination_stage_id);
