"""After all other tests: every operation has succeeded, and every declared fault was provoked or has its reason."""

from aws_model import BY_NAME
from clients import SEEN

NOT_ON_PURPOSE = "a fault in the server itself, which no request may provoke"
NO_ACCOUNT_WAITS = "accounts here are never pending verification"
NO_QUOTA = "no quota counts what this operation does"
NAMES_NOTHING = "the request names no other resource"
NEVER_IN_CONFLICT = "nothing stands in the way of this operation"

EVERYWHERE = {
    "PendingVerification": NO_ACCOUNT_WAITS,
    "InternalServerException": NOT_ON_PURPOSE,
}
READS_AND_DELETES = [
    "DeleteEncoderConfiguration",
    "DeleteStorageConfiguration",
    "GetComposition",
    "GetEncoderConfiguration",
    "GetStorageConfiguration",
    "ListCompositions",
    "ListEncoderConfigurations",
    "ListStorageConfigurations",
    "StopComposition",
]
UNPROVOKED = {
    "ServiceQuotaExceededException": (NO_QUOTA, ["CreateParticipantToken", "UpdateStage", *READS_AND_DELETES]),
    "ConflictException": (
        NEVER_IN_CONFLICT,
        [
            "CreateEncoderConfiguration",
            "CreateStorageConfiguration",
            "DeletePublicKey",
            "DeleteStage",
            "ListStages",
            *(name for name in READS_AND_DELETES if not name.startswith("Delete")),
        ],
    ),
    "ResourceNotFoundException": (NAMES_NOTHING, ["CreateEncoderConfiguration", "CreateStorageConfiguration"]),
}


def test_every_operation_of_the_model_has_succeeded(greenroom):
    succeeded = {operation for where, operation, fault in SEEN if where == greenroom.engine and fault is None}
    assert BY_NAME.keys() - succeeded == set()


def test_every_declared_fault_was_provoked_or_has_a_reason_not_to_be(greenroom):
    provoked = {
        (operation, fault) for where, operation, fault in SEEN if where == greenroom.engine and fault is not None
    }
    declared = {(name, fault.name) for name, model in BY_NAME.items() for fault in model.error_shapes}
    excused = {(name, fault) for name, fault in declared if fault in EVERYWHERE}
    excused |= {(name, fault) for fault, (_, names) in UNPROVOKED.items() for name in names}
    assert excused <= declared, "an excuse for a fault that is not declared"
    assert declared - provoked - excused == set(), "neither provoked nor excused"
    assert provoked & excused == set(), "provoked, and needs no excuse"
