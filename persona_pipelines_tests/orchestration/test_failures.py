"""What a run's log says of a failure that was foreseen: its sentence, and no places in the code."""

import dagster as dg
import pytest

from persona_pipelines.orchestration.failures import Refusal
from persona_pipelines.orchestration.specs import ONCE_MORE

SENTENCE = "clicks/2025-09-01.csv, line 1: found 3 columns; expected 4"


@pytest.mark.parametrize("policy", [None, ONCE_MORE])
def test_a_refusal_is_its_sentence_without_a_stack_and_is_not_tried_again(policy: dg.RetryPolicy | None) -> None:
    @dg.asset(retry_policy=policy)
    def refused() -> None:
        try:
            raise OSError("inside")
        except OSError:
            raise Refusal(SENTENCE) from None

    result = dg.materialize([refused], raise_on_error=False)
    kinds = [event.event_type_value for event in result.all_events]
    assert not {"STEP_UP_FOR_RETRY", "STEP_RESTARTED"} & set(kinds)
    (failed,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    data = failed.step_failure_data
    assert data.user_failure_data is not None
    assert data.user_failure_data.description == SENTENCE
    assert data.error is not None
    assert (data.error.message, list(data.error.stack), data.error.cause, data.error.context) == (SENTENCE, [], None, None)


def test_so_is_one_of_the_warehouse_before_the_first_step() -> None:
    class Held(dg.ConfigurableResource):
        def setup_for_execution(self, context: dg.InitResourceContext) -> None:
            raise Refusal(SENTENCE)

    @dg.asset
    def never(held: Held) -> None: ...

    with pytest.raises(Refusal, match="line 1"), dg.DagsterInstance.ephemeral() as instance:
        dg.materialize([never], resources={"held": Held()}, instance=instance)
