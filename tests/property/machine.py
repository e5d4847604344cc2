"""Everything that can happen to the ledger, one small step at a time and in any order; all promises after each."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lastseat.evidence import Answer
from lastseat.invariants import check_all
from lastseat.model import CancelRequest, Record
from lastseat.model_moves import MoveRequest
from lastseat.settings import Settings
from lastseat.stores.care import Care
from tests.fault.kit import Hand, exam
from tests.fault.memory_hubspot import MemoryHubSpot
from tests.property.bench import Bench
from tests.property.model import ExamModel, Model
from tests.property.steps import CONTACTS, EXAMS, KINDS, SEATS, Batch, Steps, contacts, exams, fates


class Machine(Steps, RuleBasedStateMachine):
    """Students, staff, relays that come and go, and HubSpot, where people work too."""

    def __init__(self, bench: Bench):
        super().__init__()
        self.bench = bench
        self.run, self.ledger = bench.run, bench.ledger
        bench.empty()
        self.hubspot = MemoryHubSpot()
        settings = Settings(hubspot_extra_wait_s=0.01, backoff_first_s=0.01, hubspot_accepted_s=3600)
        self.hand = Hand(self.ledger, self.hubspot, settings)
        self.model = Model({exam_id: ExamModel(seats=SEATS) for exam_id in EXAMS})
        self.batches: list[Batch] = []
        self.answers: list[Answer] = []
        self.unread: set[str] = set()
        """Keys of records that people changed in HubSpot and nobody has mirrored yet."""
        self.kept_copies: list[Record] = []
        self.changes: dict[int, tuple[str, dict[str, object]]] = {}
        self.keys: dict[tuple[str, str], str] = {}
        self._ids = 0

    @initialize()
    def begin(self):
        for exam_id in EXAMS:
            record = exam(exam_id, capacity=SEATS)
            self.hubspot.exams[exam_id] = dict(record.properties)
            self.run(self.ledger.mirror(exams=[record]))
        self.take_over()

    # Students and staff.

    @rule(contact=contacts, exam_id=exams, key=st.sampled_from([None, "k1", "k2"]))
    def book(self, contact, exam_id, key):
        wish = self._wish(contact, exam_id, key)
        known = self.keys.get((wish.caller, key)) if key else None
        (answer,) = self.run(self.ledger.claim([wish]))
        self._heard(wish, answer)
        if known is not None:
            same = self.bench.run(self._fingerprint_of(known)) == wish.fingerprint
            assert answer.outcome == ("replay" if same else "key_reused")
            assert not same or answer.claim.booking_id == known
            return
        assert answer.outcome == self.model.verdict(contact, exam_id)
        if answer.outcome == "won":
            self.model.gives(wish.booking_id, contact, exam_id)
            if key:
                self.keys[wish.caller, key] = wish.booking_id

    @rule(exam_id=exams)
    def rush(self, exam_id):
        """All at once, in one call."""
        wishes = [self._wish(contact, exam_id, None) for contact in CONTACTS]
        for wish, answer in zip(wishes, self.run(self.ledger.claim(wishes)), strict=True):
            self._heard(wish, answer)
            assert answer.outcome == self.model.verdict(wish.contact_id, exam_id)
            if answer.outcome == "won":
                self.model.gives(wish.booking_id, wish.contact_id, exam_id)

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def cancel(self, data):
        name = data.draw(st.sampled_from(sorted(self.model.holds)))
        wish = CancelRequest(reference=name, caller="student:x", request_id="r")
        (answer,), _ = self.run(self.ledger.cancel([wish]))
        assert answer.outcome in ("cancelled", "pending", "closed", "already_cancelled")
        if answer.outcome in ("cancelled", "already_cancelled"):
            assert answer.outcome == "cancelled", f"{name} still holds a seat"
            self.model.takes_back(name)

    @precondition(lambda self: self.model.holds)
    @rule(data=st.data())
    def move(self, data):
        name = data.draw(st.sampled_from(sorted(self.model.holds)))
        contact, old = self.model.holds[name]
        exam_id = next(e for e in EXAMS if e != old)
        wish = self._wish(contact, exam_id, None)
        asked = MoveRequest(
            claim_id=wish.claim_id,
            booking_id=wish.booking_id,
            reference=name,
            exam_id=exam_id,
            caller="staff:clerk",
            request_id="r",
        )
        answer, _ = self.run(self.ledger.move_booking(asked))
        self._heard(wish, answer.answer)
        if answer.trouble is None:
            assert answer.answer.outcome == self.model.verdict(contact, exam_id)
            if answer.answer.outcome == "won":
                self.model.gives(wish.booking_id, contact, exam_id)

    @rule(exam_id=exams, wanted=st.sampled_from([3, "active", 1, 4, "active", 2, "inactive", 0]))
    def change(self, exam_id, wanted):
        field = "capacity" if isinstance(wanted, int) else "is_active"
        if not self._changed(exam_id, {field: wanted}):
            return
        if isinstance(wanted, int):
            assert wanted >= self.model.taken(exam_id)
            self.model.exams[exam_id].lower.append(wanted)
        self._bind_again(exam_id)

    @rule()
    def try_again_what_was_refused(self):
        care = Care(self.bench._database)
        for row in self.run(care.set_aside(offset=0, limit=3)).rows:
            answer = self.run(care.retry_aside(row.outbox_id, caller="staff:clerk", request_id="r"))
            if answer.outcome == "queued" and row.kind == "create":
                assert self.model.verdict(row.contact_id, row.exam_id) == "won"
                self.model.gives(row.booking_id, row.contact_id, row.exam_id)

    # The relay.

    def take_over(self):
        """Another process becomes the relay. What the one before had in hand stays in its hands."""
        self.run(self.bench.rows.end_lease())
        self.run(self.hand.take())

    def crash(self):
        """The process that holds the lease ends, with all that it had in hand."""
        self.batches = [batch for batch in self.batches if batch.term != self.hand.term]
        self.take_over()

    @rule(kinds=st.permutations(KINDS), limit=st.sampled_from([1, 100]))
    def send(self, kinds, limit):
        for kind in kinds:
            if rows := self.run(self.hand.send(kind, limit)):
                self.batches.append(Batch(self.hand.term, rows))
                return

    @rule(kinds=st.permutations(KINDS[:2]), fates=fates, refuse=st.booleans())
    def carry_bookings(self, kinds, fates, refuse):
        """A batch on its whole way, as it mostly goes."""
        for kind in kinds:
            if rows := self.run(self.hand.send(kind, 100)):
                batch = Batch(self.hand.term, rows)
                self.batches.append(batch)
                self._call(batch, fates, refuse)
                self._settle(batch, twice=False)
                return

    @precondition(lambda self: any(batch.settlement is None for batch in self.batches))
    @rule(data=st.data(), fates=fates, refuse=st.booleans())
    def call(self, data, fates, refuse):
        """HubSpot is called; one that lost its lease meanwhile does not start."""
        waiting = [batch for batch in self.batches if batch.settlement is None]
        self._call(data.draw(st.sampled_from(waiting)), fates, refuse)

    @precondition(lambda self: any(batch.settlement is not None for batch in self.batches))
    @rule(data=st.data(), twice=st.booleans())
    def settle(self, data, twice):
        ended = [batch for batch in self.batches if batch.settlement is not None]
        self._settle(data.draw(st.sampled_from(ended)), twice)

    @rule(what=st.sampled_from(["take over", "crash", "tell", "back-off ends", "look again", "keep house", "land"]))
    def time_passes(self, what):
        match what:
            case "take over":
                self.take_over()
            case "crash":
                self.crash()
            case "tell":
                self.tell_what_was_not_told()
            case "back-off ends":
                self.run(self.bench.rows.due_now())
            case "look again":
                self.look_again()
            case "keep house":
                self.run(self.ledger.housekeep(self.hand.term, key_ttl_s=1e6, keep_s=1e6, most=10))
            case _:
                self.hubspot.land(1)

    def tell_what_was_not_told(self):
        _, told = self.run(self.ledger.unannounced(self.hand.term))
        self.run(self.ledger.announced(self.hand.term, told))

    def look_again(self):
        """Long enough after an uncertain call: whatever was stuck has landed by then."""
        self.hubspot.land()
        self.run(self.bench.rows.due_now())
        self.run(self.hand.verify())
        self._learn()

    # HubSpot, and the people there.

    @rule(contact=contacts, exam_id=exams)
    def somebody_books_there(self, contact, exam_id):
        key = f"by hand {len(self.hubspot.records)}"
        fields = {"mock_exam_id": exam_id, "contact_id": contact, "is_active": "Active"}
        self.kept_copies.append(self.hubspot.edit(key, **fields))
        self.unread.add(key)

    @precondition(lambda self: self.hubspot.records)
    @rule(data=st.data(), word=st.sampled_from(["Active", "Cancelled", "Completed"]))
    def somebody_edits_there(self, data, word):
        key = data.draw(st.sampled_from(sorted(self.hubspot.records)))
        self.kept_copies.append(self.hubspot.edit(key, is_active=word))
        self.unread.add(key)

    @rule(data=st.data(), old=st.booleans())
    def records_come_in(self, data, old):
        """A page that was read a while ago; or everything, as a backfill reads it."""
        if old and self.kept_copies:
            self._mirror([data.draw(st.sampled_from(self.kept_copies))])
        else:
            self._take_all()

    # What must hold after each of them.

    @invariant()
    def every_promise_holds(self):
        verdicts = check_all(self._evidence())
        self.bench.looked_at.update({verdict.invariant: verdict.looked_at for verdict in verdicts})
        found = [
            f"{verdict.invariant}: {finding.sentence}"
            for verdict in verdicts
            for finding in verdict.findings
            if not finding.note
        ]
        assert not found, found

    @invariant()
    def the_ledger_counts_as_the_model_does(self):
        gates = {gate.exam_id: gate for gate in self.run(self.ledger.gates(EXAMS))}
        for exam_id, gate in gates.items():
            exam = self.model.exams[exam_id]
            assert (gate.taken, gate.capacity, gate.open) == (
                self.model.taken(exam_id),
                exam.may_give,
                not exam.closed,
            ), exam_id

    def teardown(self):
        """Peace: everything comes to its end, and HubSpot and the ledger say the same."""
        try:
            self._come_to_rest()
        finally:
            self.hubspot.records.clear()

    # Inside.

    def _come_to_rest(self) -> None:
        self.batches.clear()
        self.hubspot.land()
        self.hand.settling.__init__(self.hand.settings)
        self.take_over()
        for _ in range(60):
            self.run(self.bench.rows.due_now())
            self._take_all()
            carried = [self.run(self.hand.carry(kind)) for kind in KINDS]
            looked = self.run(self.hand.verify())
            self.tell_what_was_not_told()
            if not looked and not any(carried):
                break
        self._take_all()
        self._learn()
        evidence = self._evidence()
        assert evidence.under_way == frozenset()
        assert all(row["state"] != "open" for row in evidence.claims.values())
        self.every_promise_holds()
        for exam_id in EXAMS:
            assert (
                sum(r.properties.get("mock_exam_id") == exam_id for r in self._held_there())
                == (evidence.exams[exam_id]["seats_taken"])
            )
            assert int(self.hubspot.exams[exam_id]["capacity"]) == evidence.exams[exam_id]["capacity"]
