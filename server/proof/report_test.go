package proof

import (
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"
)

var sample = &Report{Seconds: 3, Labs: []*Lab{
	{Lab: "knots", Variant: "default", Steps: 1, Checks: 2, Hints: 2, Wrong: 1, Ways: []Way{Button, Exec}, Languages: []string{"en", "ko"}, Cases: []Case{
		{Kind: KindSolution, Step: "tie", Name: "button 1", Seconds: 0.25},
		{Kind: KindWrong, Step: "tie", Name: "granny", Seconds: 1.5, Faults: []string{"it passes", "and <more>\nof it"}},
		{Kind: KindLanguage, Name: "en"},
	}},
	{Lab: "knots", Variant: "korean", Steps: 1},
}}

func TestTextNamesFaultsAndTheSlowest(t *testing.T) {
	var b strings.Builder
	if err := sample.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FAULT  knots (default), tie wrong granny: it passes\n", "the slowest: knots tie wrong granny 1.5 s", "button exec", "en ko", "in all"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in:\n%s", want, b.String())
		}
	}
}

func TestJUnitCountsWhatFailed(t *testing.T) {
	var b strings.Builder
	if err := sample.WriteJUnit(&b); err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatalf("%v in:\n%s", err, b.String())
	}
	if got.Tests != 3 || got.Failures != 1 || len(got.Suites) != 2 {
		t.Errorf("%d tests, %d failures, %d suites", got.Tests, got.Failures, len(got.Suites))
	}
	wrong := got.Suites[0].Cases[1]
	if wrong.Class != "knots.default.tie" || wrong.Name != "wrong granny" || wrong.Time != "1.500" || wrong.Failure == nil ||
		wrong.Failure.Message != "it passes" || wrong.Failure.Text != "it passes\nand <more>\nof it" {
		t.Errorf("the failure: %+v %+v", wrong, wrong.Failure)
	}
	if c := got.Suites[0].Cases[2]; c.Class != "knots.default" || c.Failure != nil {
		t.Errorf("a case without a step: %+v", c)
	}
}

func TestJSONHasEveryCase(t *testing.T) {
	var b strings.Builder
	if err := sample.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil || len(got.Labs) != 2 || len(got.Labs[0].Cases) != 3 || got.Labs[0].Cases[1].Faults[0] != "it passes" {
		t.Errorf("%v in:\n%s", err, b.String())
	}
}
