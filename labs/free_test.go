package labs_test

import (
	"fmt"
	"strings"
	"testing"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

func TestFreeWorlds(t *testing.T) {
	for _, c := range []struct {
		variant, machines, wires string
	}{
		{"1-switch", "host1", ""},
		{"2-switch", "host1 host2 sw", "host1:eth0=sw:port1 host2:eth0=sw:port2"},
		{"1-router", "host1 r1", "host1:eth0=r1:eth0"},
		{"1-switch-laptop", "host1 r1 laptop", "host1:eth0=r1:eth0 laptop:eth0=r1:eth1"},
		{"2-router", "host1 host2 r1", "host1:eth0=r1:eth0 host2:eth0=r1:eth1"},
		{"2-switch-internet-laptop", "host1 host2 sw r1 internet laptop",
			"host1:eth0=sw:port1 host2:eth0=sw:port2 r1:eth0=sw:port3 internet:eth0=r1:eth1 laptop:eth0=r1:eth2"},
	} {
		f, err := labs.ParseFree(c.variant)
		if err != nil {
			t.Fatal(err)
		}
		_, plan, err := f.Plan()
		if err != nil {
			t.Fatal(err)
		}
		var machines, wires []string
		for _, m := range plan.Machines {
			machines = append(machines, m.Name)
		}
		for _, w := range plan.Wires {
			wires = append(wires, string(w.A)+"="+string(w.B))
		}
		if got := strings.Join(machines, " "); got != c.machines {
			t.Errorf("%s: machines %s, not %s", c.variant, got, c.machines)
		}
		if got := strings.Join(wires, " "); got != c.wires {
			t.Errorf("%s: wires %s, not %s", c.variant, got, c.wires)
		}
		if len(plan.Steps) > 0 || plan.LabID != labs.FreePlay || plan.Variant != c.variant {
			t.Errorf("%s: %+v", c.variant, plan)
		}
	}
}

// Every choice makes a world in which whoever has a router reaches everybody.
func TestEveryFreeWorldStandsAndTalks(t *testing.T) {
	model := host.NewModel()
	defer model.Close()
	for hosts := 1; hosts <= labs.MaxFreeHosts; hosts++ {
		for _, join := range []string{labs.JoinSwitch, labs.JoinRouter} {
			for outside := range 4 {
				f := labs.Free{Hosts: hosts, Join: join, Internet: outside&1 > 0, Laptop: outside&2 > 0}
				if back, err := labs.ParseFree(f.Variant()); err != nil || back != f {
					t.Errorf("%q is read back as %+v, %v", f.Variant(), back, err)
				}
				_, plan, err := f.Plan()
				if err != nil {
					t.Fatal(err)
				}
				w, err := model.Create(t.Context(), host.Spec{ID: host.WorldID(f.Variant()), Machines: plan.Machines, Wires: plan.Wires, Setup: plan.Setup})
				if err != nil {
					t.Fatalf("%s: %v", f.Variant(), err)
				}
				last := fmt.Sprintf("10.0.0.%d", 10*hosts)
				if join == labs.JoinRouter {
					last = fmt.Sprintf("10.0.%d.%d", hosts-1, 10*hosts)
				}
				asks := []topo.Probe{}
				if hosts > 1 {
					asks = append(asks, topo.Probe{From: "host1", To: last})
				}
				if f.Internet {
					asks = append(asks, topo.Probe{From: topo.NodeID(fmt.Sprintf("host%d", hosts)), To: "8.8.8.8"})
				}
				if f.Laptop {
					asks = append(asks, topo.Probe{From: "laptop", To: "10.0.0.10"})
				}
				if f.Internet && f.Laptop {
					asks = append(asks, topo.Probe{From: "laptop", To: "203.0.113.80"})
				}
				for _, p := range asks {
					p.Kind = topo.ProbePing
					if r, err := w.Probe(t.Context(), p); err != nil || !r.OK {
						t.Errorf("%s: %s does not reach %s: %+v %v", f.Variant(), p.From, p.To, r, err)
					}
				}
				if err := w.Destroy(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

func TestFreeVariantsThatAreNone(t *testing.T) {
	for _, v := range []string{"0-switch", "7-switch", "2", "2-hub", "2-switch-", "02-switch", "+2-switch", "2-switch-laptop-internet", "2-switch-internet-internet", "switch-2", "default", "-", strings.Repeat("2-switch", 9)} {
		if f, err := labs.ParseFree(v); err == nil {
			t.Errorf("%q is %+v", v, f)
		}
	}
}

func TestFreePlayIsSaidInEveryLanguage(t *testing.T) {
	f, _ := labs.ParseFree("")
	_, plan, err := f.Plan()
	if err != nil {
		t.Fatal(err)
	}
	titles := map[string]bool{}
	for _, l := range labs.Languages() {
		text := plan.Text(l)
		if text.Language != l || text.Title == "" || text.Summary == "" || !strings.Contains(text.Intro, "<p>") {
			t.Errorf("%s: %+v", l, text)
		}
		titles[text.Title] = true
	}
	if len(titles) != len(labs.Languages()) {
		t.Errorf("titles: %v", titles)
	}
}
