package labs_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"kabel/labs"
	"kabel/sandbox/topo"
)

// small is a lab that is right; the tests below break it.
const small = `id: small
track: z
order: 1
minutes: 5
machines:
  - name: host1
    kind: host
    links:
      - {name: eth0, to: sw, addresses: [10.0.0.10/24]}
    routes: [default via 10.0.0.1]
  - {name: sw, kind: switch}
variants:
  - id: other
    replace: {kon: red, 172.16.0.1: 192.168.0.1}
steps:
  - id: one
    on: host1
    do:
      - ip netns add kon
      - on: sw
        do: [ip link set br0 up]
    probes:
      - {to: 172.16.0.1}
    check: node('host1/kon').exists
    hints:
      - {id: late, when: "ping('host1','172.16.0.1').tried"}
      - {id: none}
    predict:
      options: [yes, no]
      answer: "node('host1/kon').exists ? 'yes' : 'no'"
    wrong:
      - {id: nothing, do: [ip link set lo up], hint: none}
`

const smallText = `# A small lab

> One step.

Hello kon at 172.16.0.1.

## variant other: Other names

## step one: Make kon

Do it with ` + "`ip netns add kon`" + `.

### predict

Will kon be there?

- yes: It will.
- no: It won't,
  never.

### hint late

Too late for **kon**.

### hint none

Nothing yet.

### after

There.
`

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

func files(yaml, text string) fstest.MapFS {
	return fstest.MapFS{"small/lab.yaml": file(yaml), "small/en.md": file(text)}
}

func smallPlan(t *testing.T, fsys fstest.MapFS, variant string) *labs.Plan {
	t.Helper()
	c, err := labs.Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Lab("small").Plan(variant)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPlanOfALab(t *testing.T) {
	p := smallPlan(t, files(small, smallText), "")
	if want := []topo.Wire{{A: "host1:eth0", B: "sw:port1"}}; !slices.Equal(p.Wires, want) {
		t.Errorf("wires: got %v, want %v", p.Wires, want)
	}
	var setup []string
	for _, s := range p.Setup {
		setup = append(setup, string(s.Node)+": "+s.Command())
	}
	for _, want := range []string{"host1: ip link set dev lo up", "host1: ip addr add 10.0.0.10/24 dev eth0", "host1: ip route add default via 10.0.0.1",
		"host1: sysctl -w net.ipv4.ip_forward=0", "host1: sysctl -w net.ipv4.conf.eth0.rp_filter=0"} {
		if !slices.Contains(setup, want) {
			t.Errorf("the setup lacks %q: %q", want, setup)
		}
	}
	step := p.Steps[0]
	if got := step.Do[1]; got.Node != "sw" || got.Op.Node != "sw" || got.Text != "ip link set br0 up" {
		t.Errorf("a command of a block: got %+v", got)
	}
	if want := (topo.Probe{From: "host1", Kind: topo.ProbePing, To: "172.16.0.1", Count: 2}); step.Probes[0] != want {
		t.Errorf("probe: got %+v, want %+v", step.Probes[0], want)
	}
}

func TestVariantReplacesNamesEverywhere(t *testing.T) {
	p := smallPlan(t, files(small, smallText), "other")
	step, text := p.Steps[0], p.Text("en")
	for got, want := range map[string]string{
		step.Do[0].Text:                 "ip netns add red",
		step.Probes[0].To:               "192.168.0.1",
		text.Intro:                      "<p>Hello red at 192.168.0.1.</p>",
		text.Steps["one"].Title:         "Make red",
		text.Steps["one"].Hints["late"]: "Too late for red.",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	done, err := step.Check.Eval(t.Context(), labs.State{Now: topo.Snapshot{Nodes: []topo.Node{{ID: "host1/red"}}}})
	if err != nil || !done {
		t.Errorf("the check looks for host1/red: got %v, %v", done, err)
	}
	if _, err := labs.Load(files(small, smallText)); err != nil {
		t.Fatal(err)
	}
}

func TestUnknownVariant(t *testing.T) {
	c, err := labs.Load(files(small, smallText))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Lab("small").Plan("nope"); err == nil {
		t.Error("a plan for a variant that is not there")
	}
	if c.Lab("nope") != nil {
		t.Error("a lab that is not there")
	}
}

func TestMistakesAreFoundWhereTheyAre(t *testing.T) {
	replace := func(old, with string) func() (string, string) {
		return func() (string, string) {
			if !strings.Contains(small, old) {
				panic("the lab has no " + old)
			}
			return strings.Replace(small, old, with, 1), smallText
		}
	}
	inText := func(old, with string) func() (string, string) {
		return func() (string, string) { return small, strings.Replace(smallText, old, with, 1) }
	}
	for _, c := range []struct {
		name       string
		files      func() (yaml, text string)
		where      string // line:column
		message    string
		suggestion string
	}{
		{"a misspelt key", replace("    probes:", "    prob:"), "22:5", `"prob" is not known`, "probes"},
		{"a misspelt key of a block", replace("        do: [ip link", "        doo: [ip link"), "21:9", `"doo" is not known`, "do"},
		{"a key given twice", replace("minutes: 5", "minutes: 5\nminutes: 6"), "5:1", `"minutes" is given twice`, ""},
		{"a missing key", replace("    check: node('host1/kon').exists\n", ""), "16:5", "the key check is missing here: add it", ""},
		{"a value of another type", replace("order: 1", "order: first"), "3:8", "a whole number belongs here, not a text", ""},
		{"an unknown kind", replace("kind: switch", "kind: hub"), "11:22", `"hub" is none of host, switch`, ""},
		{"an alias", replace("track: z", "track: &x z"), "2:8", "anchors are not allowed", ""},
		{"a tag", replace("order: 1", "order: !!int 1"), "3:8", "tags are not allowed", ""},
		{"no YAML", replace("machines:", "machines: ["), "6:", "", ""},
		{"a command", replace("ip netns add kon", "ip nets add kon"), "19:12", `"nets" is no object`, "netns"},
		{"an unknown machine", replace("      - on: sw", "      - on: ws"), "20:13", `no machine "ws"`, "sw"},
		{"an unknown far end", replace("to: sw", "to: wall"), "9:26", `no machine "wall"`, ""},
		{"an address", replace("10.0.0.10/24", "10.0.0.310/24"), "9:42", "10.0.0.310/24", ""},
		{"a misspelt function", replace("check: node(", "check: nod("), "24:15", `there is no function "nod"`, "node"},
		{"a misspelt field", replace("check: node('host1/kon').exists", "check: node('host1/kon').exist"), "24:29", `has no "exist"`, "exists"},
		{"a misspelt node", replace("check: node('host1/kon')", "check: node('host1/kn')"), "24:17", `no node "host1/kn"`, "host1/kon"},
		{"a computed node", replace("check: node('host1/kon')", "check: node('host1/' + 'kon')"), "24:26", "write this out", ""},
		{"a check that is no condition", replace("check: node('host1/kon').exists", "check: \"'yes'\""), "24:12", "true or false is needed", ""},
		{"a type mistake", replace("check: node('host1/kon').exists", "check: link('host1','eth0').mtu == '1500'"), "24:37", "== is not possible between a number, a text", ""},
		{"a misspelt counter", replace("check: node('host1/kon').exists", "check: rose('host1','Icmp.InEcho') > 0"), "24:25", "checks can't see the counter", "Icmp.InEchos"},
		{"a misspelt setting", replace("check: node('host1/kon').exists", "check: sysctl('host1','net.ipv4.ip_forwar') == '1'"), "24:27", "checks can't see the setting", ""},
		{"a misspelt interface", replace("check: node('host1/kon').exists", "check: link('host1','eth1').up"), "24:25", `no interface "eth1"`, "eth0"},
		{"a kind of packet that there is not", replace("check: node('host1/kon').exists", "check: packets('host1','eth0').exists(p, p.kind == 'arp-requst')"), "24:56", `"arp-requst" is not a kind of packet`, "arp-request"},
		{"a misspelt reason", replace("check: node('host1/kon').exists", "check: ping('host1','10.0.0.1').reason == 'timeout'"), "24:47", "not a reason", ""},
		{"an answer that is no option", replace("? 'yes' :", "? 'yess' :"), "30:15", `"yess" is not one of the options`, "yes"},
		{"a hint that is never shown", replace(`{id: late, when: "ping('host1','172.16.0.1').tried"}`, "{id: late}"), "27:14", "never shown", ""},
		{"a wrong solution's hint", replace("hint: none", "hint: nope"), "32:54", `no hint "nope"`, "none"},
		{"a variant that replaces nothing", replace("kon: red", "kun: red"), "14:15", `"kun" is replaced, but stands nowhere`, ""},
		{"a variant whose command is wrong", replace("kon: red", "kon: -red"), "19:9", "variant other", ""},
		{"a heading for no step", inText("## step one", "## step two"), "9:1", `nothing for "## step two: title"`, ""},
		{"a missing hint text", inText("### hint late", "### hint lat"), "21:1", `nothing for "### hint lat"`, "### hint late"},
		{"a strange heading", inText("### after", "### afterwards"), "29:1", "below a step stand", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			yaml, text := c.files()
			_, err := labs.Load(files(yaml, text))
			if err == nil {
				t.Fatal("it was accepted")
			}
			var found bool
			for p := range problems(err) {
				where := fmt.Sprintf("%d:%d", p.Line, p.Column)
				found = found || strings.HasPrefix(where, c.where) && strings.Contains(p.Message, c.message) && p.Suggestion == c.suggestion
			}
			if !found {
				t.Errorf("no problem at %s with %q (%q), but:\n%v", c.where, c.message, c.suggestion, err)
			}
		})
	}
}

// problems yields the problems that are joined in err.
func problems(err error) func(yield func(*labs.Problem) bool) {
	return func(yield func(*labs.Problem) bool) {
		var walk func(error) bool
		walk = func(err error) bool {
			if joined, ok := err.(interface{ Unwrap() []error }); ok {
				return !slices.ContainsFunc(joined.Unwrap(), func(e error) bool { return !walk(e) })
			}
			var p *labs.Problem
			return !errors.As(err, &p) || yield(p)
		}
		walk(err)
	}
}

func TestFilesOfStrangersAreBounded(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\n"
	for name, yaml := range map[string]string{
		"too large":            small + strings.Repeat("# padding\n", 30_000),
		"aliases":              bomb,
		"too deep":             "a: " + strings.Repeat("[", 100) + strings.Repeat("]", 100),
		"too many":             "a: [" + strings.Repeat("1,", 30_000) + "1]",
		"a long command":       strings.Replace(small, "ip netns add kon", "ip netns add "+strings.Repeat("k", 5000), 1),
		"empty":                "",
		"two documents":        small + "---\n" + small,
		"not a mapping":        "- 1",
		"a key that is a list": "[a]: 1",
	} {
		if _, err := labs.Load(files(yaml, smallText)); err == nil {
			t.Errorf("%s: it was accepted", name)
		} else if len(err.Error()) > 20_000 {
			t.Errorf("%s: the error is %d bytes long", name, len(err.Error()))
		}
	}
}
