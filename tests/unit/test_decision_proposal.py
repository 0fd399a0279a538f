"""A model under a policy, and its own threshold as a proposal."""

from pathlib import Path

from churnops.decision.in_force import under_policy
from churnops.decision.policy import DecisionPolicy
from churnops.decision.proposal import proposal
from churnops.evaluation.labelled_scores import LABELLED_SCORES, LabelledScores
from churnops.model import Bundle
from churnops.model.sent import SentBundle


def test_a_policy_changes_flags_and_nothing_else(bundles: tuple[Bundle, Bundle], tmp_path: Path):
    model = Bundle.load(bundles[0].save(tmp_path / "model"))
    under = under_policy(model, DecisionPolicy(threshold=1e-9, version=3))
    before, after = model.predict(model.probes), under.predict(model.probes)
    assert after.churn.all()
    assert not before.churn.all()
    assert (after.probability == before.probability).all()
    assert (under.content_sha256, under.own_threshold, under.decision_version) == (
        model.content_sha256,
        model.threshold,
        3,
    )
    assert Bundle.load(under.save(tmp_path / "again")).threshold == model.threshold
    assert under_policy(under, DecisionPolicy()).threshold == model.threshold


def test_a_worker_gets_the_policy_with_the_model(bundles: tuple[Bundle, Bundle]):
    sent = SentBundle.of(under_policy(bundles[0], DecisionPolicy(threshold=0.123, version=2)))
    assert (sent.load().threshold, sent.load().decision_version) == (0.123, 2)
    plain = SentBundle.of(bundles[0])
    assert (plain.load().threshold, plain.load().decision_version) == (bundles[0].threshold, 0)


def test_a_new_model_names_the_difference_to_the_policy(bundles: tuple[Bundle, Bundle]):
    deployed, model = bundles
    scores = LabelledScores.of([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8]).to_json()
    model = model.with_metadata(metrics={LABELLED_SCORES: scores}, lineage={})
    assert proposal(DecisionPolicy(), model, deployed) == ""
    assert proposal(DecisionPolicy(threshold=model.threshold, version=1), model, deployed) == ""
    assert proposal(DecisionPolicy(threshold=0.2, version=4), model, deployed) == (
        "decision policy 4 stays, with the threshold 0.2; this model proposes 0.5 (in its evaluation the policy flags "
        "3 of 4 customers, and 2 of the 2 who left; 0.5 flags 1 of 4 customers, and 1 of the 2 who left)"
    )
    assert proposal(DecisionPolicy(contacts=9, version=4), model, deployed) == ""
    missing = proposal(DecisionPolicy(value="gone", version=5), model, deployed)
    assert missing.startswith("no call lists with this model: decision policy 5: value: 'gone' is not a number column")
