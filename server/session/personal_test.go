package session_test

import (
	"strings"
	"testing"

	"kabel/labs"
)

// A personal session has names of its own, and the same ones after a restart.
func TestPersonalSession(t *testing.T) {
	d := fresh(t, nil)
	s, token, err := d.Create(t.Context(), "one-namespace", labs.Personal, "en")
	if err != nil {
		t.Fatal(err)
	}
	variant := s.View().Variant
	if !strings.HasPrefix(variant, "personal-") {
		t.Fatalf("the variant is %q", variant)
	}
	_, plan, err := d.Plan("one-namespace", variant)
	if err != nil {
		t.Fatal(err)
	}
	command := plan.Steps[0].Do[0].Text
	if command == "ip netns add kon" {
		t.Error("the namespace is still called kon")
	}
	if v := op(t, s, "ip netns add kon"); v.Current != plan.Steps[0].ID {
		t.Error("the answer of another learner passes")
	}
	if v := op(t, s, command); v.Current != plan.Steps[1].ID {
		t.Errorf("%s does not pass: %+v", command, v)
	}
	again := open(t, d.model, d.records, nil)
	defer again.Close()
	found, err := again.Find(s.ID(), token)
	if err != nil {
		t.Fatal(err)
	}
	if v := found.View(); v.Variant != variant || v.Current != plan.Steps[1].ID {
		t.Errorf("after a restart: %+v", v)
	}
}
