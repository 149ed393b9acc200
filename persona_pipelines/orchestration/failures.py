"""How a step ends that cannot be done for a reason that a person can act on: with a sentence, and without the places in the code."""

from __future__ import annotations

import dagster as dg
from dagster._core.errors import DagsterUserCodeProcessError
from dagster._utils.error import SerializableErrorInfo

from persona_pipelines.errors import ProjectError, plain


class Refusal(dg.Failure, DagsterUserCodeProcessError, ProjectError):
    """A failure that was foreseen: Dagster's log of the run shows what it says and nothing else.

    Of other errors Dagster shows the stack. It hands on as it is what a process of its own has said of an error, which has none; such an error
    is final, whatever the retry policy of its step.
    """

    def __init__(self, sentence: str) -> None:
        sentence = plain(sentence, lines=True)
        Exception.__init__(self, sentence)
        self.description = sentence
        self.metadata = {}
        self.allow_retries = False
        self.user_code_process_error_infos = [SerializableErrorInfo(sentence, [], dg.Failure.__name__)]
