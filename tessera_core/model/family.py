"""The releases by name; standard library only, so that help can list them at once."""

from enum import StrEnum


class Family(StrEnum):
    """A released model; v1.1 counts twice, once per data source, since the norms differ."""

    V1_0_EARLY = "v1.0-early"
    V1_0_QAT = "v1.0-qat"
    V1_1_MPC = "v1.1-mpc"
    V1_1_AWS = "v1.1-aws"
    V2_STUDENT = "v2-student"
    V2_TEACHER = "v2-teacher"
