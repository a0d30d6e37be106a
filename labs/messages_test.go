package labs_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"kabel/labs"
)

var place = regexp.MustCompile(`^small/(lab\.yaml|[a-z]+\.md):\d+:\d+: `)

// What an author is told of each mistake. The messages are kept in
// testdata/messages.golden, to be read by whoever changes one:
// KABEL_WRITE_GOLDEN=1 go test ./labs -run TestMessages
func TestMessages(t *testing.T) {
	var got bytes.Buffer
	for _, c := range []struct{ name, old, with string }{
		// the form of lab.yaml
		{"a misspelt key", "    probes:", "    prob:"},
		{"a key from elsewhere", "minutes: 5", "minutes: 5\nauthor: me"},
		{"a misspelt key that is needed", "    check:", "    chek:"},
		{"a missing key", "    check: node('host1/kon').exists\n", ""},
		{"two missing keys", "track: z\norder: 1\n", ""},
		{"a word where a number belongs", "order: 1", "order: first"},
		{"a number where a list belongs", "    options: [yes, no]", "options: 2"},
		{"a word where a list belongs", "routes: [default via 10.0.0.1]", "routes: default via 10.0.0.1"},
		{"a list where a mapping belongs", "    predict:\n      options: [yes, no]", "    predict:\n      - options: [yes, no]"},
		{"a key given twice", "minutes: 5", "minutes: 5\nminutes: 6"},
		{"a tab", "    probes:", "\tprobes:"},
		{"a bracket that is not closed", "routes: [default via 10.0.0.1]", "routes: [default via 10.0.0.1"},
		{"a colon inside a text", "ip netns add kon", "ip netns add kon: now"},
		{"a check that begins with !", "check: node", "check: !node"},
		{"a question mark and a colon without quotes", "answer: \"node('host1/kon').exists ? 'yes' : 'no'\"", "answer: node('host1/kon').exists ? 'yes' : 'no'"},
		{"an anchor", "track: z", "track: &x z"},
		{"an id that is not the folder's", "id: small", "id: smal"},
		{"an id with capitals", "id: small", "id: Small"},
		{"a track that is a word", "track: z", "track: zebra"},
		{"an order of zero", "order: 1", "order: 0"},
		{"too many minutes", "minutes: 5", "minutes: 500"},
		{"an unknown kind of machine", "kind: switch", "kind: hub"},
		{"nothing at all", small, ""},
		// machines
		{"two machines of one name", "name: sw,", "name: host1,"},
		{"a machine's name", "name: sw,", "name: s w,"},
		{"a link to an unknown switch", "to: sw", "to: ws"},
		{"a link to a machine that is no switch", "to: sw", "to: host1"},
		{"a link without a cable", "to: sw, ", ""},
		{"a name that is too long for an interface", "{name: eth0, to", "{name: ethernet-interface-0, to"},
		{"a bad address", "10.0.0.10/24", "10.0.0.310/24"},
		{"a bad route", "[default via 10.0.0.1]", "[defualt via 10.0.0.1]"},
		{"a route to an address", "[default via 10.0.0.1]", "[10.9.0.1/24 via 10.0.0.1]"},
		// commands
		{"an unknown machine", "on: host1", "on: hots1"},
		{"an unknown machine of a block", "      - on: sw", "      - on: ws"},
		{"an unknown program", "ip netns add kon", "ipp netns add kon"},
		{"a misspelt object", "ip netns add kon", "ip nets add kon"},
		{"a missing word", "ip netns add kon", "ip netns add"},
		{"a word too many", "ip netns add kon", "ip netns add kon kon2"},
		{"a command that only shows", "ip netns add kon", "ip link show"},
		{"a ping", "ip netns add kon", "ping -c 1 10.0.0.1"},
		{"a shell's variable", "ip netns add kon", "ip netns add $NAME"},
		{"two commands", "ip netns add kon", "ip netns add kon && ip netns add red"},
		{"a prompt", "- ip netns add kon", "- \"$ ip netns add kon\""},
		{"a quote that is not closed", "ip netns add kon", "ip netns add \"kon"},
		{"a pipe", "ip netns add kon", "ip link show | grep veth"},
		{"socat in the foreground", "ip netns add kon", "socat UDP-LISTEN:9000 STDOUT"},
		{"a path of the host", "ip netns add kon", "cat /etc/shadow"},
		// checks
		{"an unknown function", "check: node(", "check: nod("},
		{"an unknown field", "('host1/kon').exists\n    hints", "('host1/kon').exist\n    hints"},
		{"an unknown node", "check: node('host1/kon')", "check: node('host1/kno')"},
		{"an unknown machine in a check", "check: node('host1/kon')", "check: node('hots1')"},
		{"an unknown interface", "check: node('host1/kon').exists", "check: link('host1','eth1').up"},
		{"an argument too few", "check: node('host1/kon').exists", "check: link('host1').up"},
		{"a check that is no condition", "check: node('host1/kon').exists", "check: link('host1','eth0').mac"},
		{"a number compared with a text", "check: node('host1/kon').exists", "check: link('host1','eth0').mtu == '1500'"},
		{"one equals sign", "check: node('host1/kon').exists", "check: link('host1','eth0').mtu = 1500"},
		{"a bracket too few", "check: node('host1/kon').exists", "check: (node('host1/kon').exists"},
		{"an unknown counter", "check: node('host1/kon').exists", "check: rose('host1','Icmp.InEcho') > 0"},
		{"an unknown setting", "check: node('host1/kon').exists", "check: sysctl('host1','net.ipv4.tcp_mem') == '1'"},
		{"an unknown table", "check: node('host1/kon').exists", "check: policy('host1','fitler','FORWARD') == 'DROP'"},
		{"an address without its length", "check: node('host1/kon').exists", "check: has_addr('host1','eth0','10.0.0.10')"},
		{"a destination that is none", "check: node('host1/kon').exists", "check: route('host1','10.0.0.1/24').exists"},
		{"a computed name", "check: node('host1/kon')", "check: node('host1/' + 'kon')"},
		{"an unknown reason", "check: node('host1/kon').exists", "check: ping('host1','10.0.0.1').reason == 'timeout'"},
		{"an unknown kind of packet", "check: node('host1/kon').exists", "check: packets('host1','eth0').exists(p, p.kind == 'arp')"},
		// hints, predictions, wrong solutions, probes
		{"a hint given twice", "{id: late, when", "{id: none, when"},
		{"a hint that is never shown", `{id: late, when: "ping('host1','172.16.0.1').tried"}`, "{id: late}"},
		{"a single hint", `      - {id: late, when: "ping('host1','172.16.0.1').tried"}` + "\n", ""},
		{"an answer that is no option", "? 'yes' :", "? 'yess' :"},
		{"a question with one option", "options: [yes, no]", "options: [yes]"},
		{"a wrong solution without a hint", ", hint: none}", "}"},
		{"a wrong solution with an unknown hint", "hint: none}", "hint: non}"},
		{"a wrong solution that does nothing", "do: [ip link set lo up], ", ""},
		{"no wrong solution", "    wrong:\n      - {id: nothing, do: [ip link set lo up], hint: none}\n", ""},
		{"a probe from nowhere", "{to: 172.16.0.1}", "{from: host1/kno, to: 172.16.0.1}"},
		{"a ping to a name", "{to: 172.16.0.1}", "{to: example.org}"},
		{"a port that is missing", "{to: 172.16.0.1}", "{kind: tcp, to: 172.16.0.1}"},
		{"a URL that is none", "{to: 172.16.0.1}", "{kind: http, to: 172.16.0.1}"},
		{"an unknown kind of probe", "{to: 172.16.0.1}", "{kind: curl, to: 172.16.0.1}"},
		{"a step that does nothing", "    do:\n      - ip netns add kon\n      - on: sw\n        do: [ip link set br0 up]\n    probes:\n      - {to: 172.16.0.1}\n", ""},
		// variants
		{"a variant that replaces nothing", "kon: red", "kun: red"},
		{"a variant with a bad name", "kon: red", "kon: -red"},
		{"a variant that is called personal", "- id: other", "- id: personal"},
		{"a variant given twice", "variants:", "variants:\n  - id: other\n    replace: {eth0: eth5}"},
		{"personal without anything", "variants:", "personal: {}\nvariants:"},
		{"a personal name that is not there", "variants:", "personal: {names: [kun]}\nvariants:"},
		{"a personal name that the system gives", "variants:", "personal: {names: [br0]}\nvariants:"},
		{"a public network", "variants:", "personal: {networks: [8.8.8.0/24]}\nvariants:"},
		{"an address for a network", "variants:", "personal: {networks: [172.16.0.1/24]}\nvariants:"},
		{"a network that is not there", "variants:", "personal: {networks: [192.168.7.0/24]}\nvariants:"},
		// texts
		{"text: no summary", "> One step.", "One step."},
		{"text: no title", "# A small lab", ""},
		{"text: a heading that is misspelt", "## step one: Make kon", "## stepp one: Make kon"},
		{"text: a step that is not there", "## step one: Make kon", "## step on: Make kon"},
		{"text: a step without words", "Do it with `ip netns add kon`.", ""},
		{"text: a hint without words", "Too late for **kon**.", ""},
		{"text: a hint that is missing", "### hint late\n\nToo late for **kon**.\n", ""},
		{"text: a hint that is not there", "### hint late", "### hint lat"},
		{"text: a hint given twice", "### hint none", "### hint late"},
		{"text: an option that is missing", "- no: It won't,\n  never.", ""},
		{"text: an option that is not there", "- no: It won't", "- nope: It won't"},
		{"text: no words when it is done", "There.\n", ""},
		{"text: words behind a variant's title", "## variant other: Other names\n", "## variant other: Other names\n\nMore.\n"},
		{"text: a heading of its own", "### after", "### afterwards"},
		{"text: no file", smallText, ""},
	} {
		yaml, text := small, smallText
		if strings.HasPrefix(c.name, "text: ") {
			if !strings.Contains(text, c.old) {
				t.Fatalf("%s: the text has no %q", c.name, c.old)
			}
			text = strings.Replace(text, c.old, c.with, 1)
		} else {
			if !strings.Contains(yaml, c.old) {
				t.Fatalf("%s: the lab has no %q", c.name, c.old)
			}
			yaml = strings.Replace(yaml, c.old, c.with, 1)
		}
		fsys := files(yaml, text)
		if text == "" {
			delete(fsys, "small/en.md")
		}
		_, err := labs.Load(fsys)
		if err == nil {
			t.Errorf("%s: it was accepted", c.name)
			continue
		}
		fmt.Fprintf(&got, "## %s\n%v\n\n", c.name, err)
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if !place.MatchString(line) {
				t.Errorf("%s: this has no place: %s", c.name, line)
			}
		}
	}
	if os.Getenv("KABEL_WRITE_GOLDEN") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/messages.golden", got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/messages.golden")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the messages are not those of testdata/messages.golden:\n%s", got.String())
	}
}
