package session_test

import (
	"maps"
	"net/netip"
	"strings"
	"testing"

	"kabel/labs"
	"kabel/server/session"
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

// Whatever becomes of the lab, a session has the names and networks that it began with:
// its world, its texts and its checks go on to fit each other.
func TestPersonalSessionKeepsWhatWasDrawn(t *testing.T) {
	begin := func(t *testing.T) (d *desk, s *session.Session, key string, drawn labs.Drawn) {
		d = fresh(t, func(o *session.Options) { o.Labs = draft(t, "", "", "") })
		s, key, err := d.Create(t.Context(), "draft", labs.Personal, "en")
		if err != nil {
			t.Fatal(err)
		}
		_, plan := s.Lab()
		return d, s, key, plan.Drawn
	}
	restart := func(t *testing.T, d *desk, s *session.Session, key string, c *labs.Catalog) *session.Session {
		t.Helper()
		again := open(t, d.model, d.records, func(o *session.Options) { o.Labs = c })
		t.Cleanup(func() {
			if err := again.Close(); err != nil {
				t.Error(err)
			}
		})
		found, err := again.Find(s.ID(), key)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	// fits judges the texts, the commands and the checks by the names of the beginning.
	fits := func(t *testing.T, s *session.Session, drawn labs.Drawn) {
		t.Helper()
		box := drawn.Names["box"]
		_, plan := s.Lab()
		for from, to := range drawn.Names {
			if plan.Drawn.Names[from] != to {
				t.Errorf("%s was %s and is %s", from, to, plan.Drawn.Names[from])
			}
		}
		if hint := plan.Text("en").Steps["namespace"].Hints["none"]; !strings.Contains(hint, box+" ") {
			t.Errorf("the namespace is %s, and the hint says: %s", box, hint)
		}
		if v := op(t, s, "ip netns add "+box); v.Current != "cable" {
			t.Errorf("the check does not take %s: %+v", box, v)
		}
		at := drawn.Networks[netip.MustParsePrefix("10.1.0.0/24")].Addr().Next()
		if do := plan.Steps[1].Do[1].Text; !strings.HasSuffix(do, at.String()+"/24 dev "+drawn.Names["veth1"]) {
			t.Errorf("the address was %s and the command is %q", at, do)
		}
	}

	t.Run("the lab says what had been drawn", func(t *testing.T) {
		d, s, key, drawn := begin(t)
		// What is written in the lab is not drawn.
		with := drawn.Networks[netip.MustParsePrefix("10.1.0.0/24")].Addr().Next().String()
		edited := draft(t, "en.md", "In this lab you", "It is not "+drawn.Names["box"]+" at "+with+". In this lab you")
		anew, err := edited.Lab("draft").Plan(s.View().Variant)
		if err != nil {
			t.Fatal(err)
		}
		if anew.Drawn.Names["box"] == drawn.Names["box"] {
			t.Fatal("the edit does not matter to the drawing")
		}
		again := restart(t, d, s, key, edited)
		fits(t, again, drawn)
		if again.View().Stale {
			t.Error("words are no reason to build a world anew")
		}
	})
	t.Run("another name is drawn, too", func(t *testing.T) {
		d, s, key, drawn := begin(t)
		again := restart(t, d, s, key, draft(t, "lab.yaml", "names: [box, ", "names: [container, box, "))
		fits(t, again, drawn)
		if _, plan := again.Lab(); plan.Drawn.Names["container"] == "" {
			t.Error("the new name is not drawn")
		}
	})
	t.Run("nothing is drawn any more", func(t *testing.T) {
		d, s, key, drawn := begin(t)
		again := restart(t, d, s, key, draft(t, "lab.yaml", "personal:\n  names: [box, veth1, veth2]\n  networks: [10.1.0.0/24]\n", ""))
		fits(t, again, drawn)
	})
	t.Run("the drawing itself is another one", func(t *testing.T) {
		d, s, key, drawn := begin(t)
		b, _, err := d.records.Get(t.Context(), s.ID())
		if err != nil {
			t.Fatal(err)
		}
		was := `"box":"` + drawn.Names["box"] + `"`
		if !strings.Contains(string(b), was) {
			t.Fatalf("the record does not tell of %s: %s", was, b)
		}
		drawn.Names = maps.Clone(drawn.Names)
		drawn.Names["box"] = "box7777"
		if _, err := d.records.Put(t.Context(), s.ID(), []byte(strings.Replace(string(b), was, `"box":"box7777"`, 1))); err != nil {
			t.Fatal(err)
		}
		fits(t, restart(t, d, s, key, draft(t, "", "", "")), drawn)
	})
	t.Run("a network of another size is drawn anew, and the world with it", func(t *testing.T) {
		d, s, key, drawn := begin(t)
		again := restart(t, d, s, key, draft(t, "lab.yaml", "networks: [10.1.0.0/24]", "networks: [10.1.0.0/16]"))
		_, plan := again.Lab()
		if box := plan.Drawn.Names["box"]; box != drawn.Names["box"] {
			t.Errorf("the namespace was %s and is %s", drawn.Names["box"], box)
		}
		if again.View().Stale {
			t.Error("nothing that was built had the network yet")
		}
	})
}

// A world that outlived its server was built from the lab as it was then.
func TestEditedWhileTheServerWasAway(t *testing.T) {
	d := fresh(t, func(o *session.Options) { o.Labs = draft(t, "", "", "") })
	s, key, err := d.Create(t.Context(), "draft", "", "en")
	if err != nil {
		t.Fatal(err)
	}
	op(t, s, "ip netns add box")
	for _, c := range []struct {
		old, with string
		stale     bool
	}{
		{"order: 1", "order: 2", false},
		{"10.1.0.2/24 dev", "10.1.0.3/24 dev", false}, // the next step
		{"- ip netns add box", "- ip netns add box\n      - ip link set lo up", true},
		{"kind: host", "kind: router", true},
		{"order: 1", "order: 1", false},
	} {
		again := open(t, d.model, d.records, func(o *session.Options) { o.Labs = draft(t, "lab.yaml", c.old, c.with) })
		found, err := again.Find(s.ID(), key)
		if err != nil {
			t.Fatal(err)
		}
		if v := found.View(); v.Stale != c.stale || v.Current != "cable" {
			t.Errorf("%q became %q: stale %v at %s", c.old, c.with, v.Stale, v.Current)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
