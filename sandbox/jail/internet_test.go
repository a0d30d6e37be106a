package jail

import (
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestTheInternetAnswers(t *testing.T) {
	m := startMachine1(t)
	shOut(t, m, "ip link set lo up && ip addr add 8.8.8.8/32 dev lo && ip addr add 203.0.113.80/32 dev lo && ip -6 addr add 2001:db8::80/128 dev lo")
	if err := m.ServeInternet(deadline(t)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ command, want string }{
		{"curl -s http://203.0.113.80/", "Hello from 203.0.113.80. You are 203.0.113.80, port"},
		{"curl -s --interface 127.0.0.1 http://8.8.8.8/any/page", "Hello from 8.8.8.8. You are 127.0.0.1, port"},
		{"curl -s 'http://[2001:db8::80]/'", "Hello from 2001:db8::80. You are 2001:db8::80, port"},
		{"curl -s http://www.example.test/", "Hello from 203.0.113.80."},
		{"curl -s -o /dev/null -w '%{http_code} %{content_type}' http://8.8.8.8/", "200 text/plain"},
		{"curl -s -X POST http://8.8.8.8/", "Only GET and HEAD."},
		{"curl -sI http://8.8.8.8/ | head -1", "HTTP/1.0 200 OK"},
		{"printf '\\n' | timeout 2 nc -q1 8.8.8.8 80 | head -1", "HTTP/1.0 405"},
		{"getent ahostsv4 deep.down.EXAMPLE.test | head -1", "203.0.113.80"},
		{"getent hosts other.test || echo none", "none"},
	} {
		if got := shOut(t, m, c.command); len(got) < len(c.want) || got[:len(c.want)] != c.want {
			t.Errorf("%s\ngot  %q\nwant %q", c.command, got, c.want)
		}
	}
	// It has no more rights than a learner.
	if got := shOut(t, m, "grep -h -E 'NoNewPrivs|Seccomp:' /proc/$(pgrep -f ^kabel:internet)/status | xargs"); got != "NoNewPrivs: 1 Seccomp: 2" {
		t.Errorf("the service runs with %q", got)
	}
	if err := m.ServeInternet(deadline(t)); err == nil {
		t.Error("a second one finds the ports taken and doesn't say so")
	}
}

func TestTheNameServer(t *testing.T) {
	question := func(name string, typ dnsmessage.Type) []byte {
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true},
			Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}}}
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		what    string
		query   []byte
		code    dnsmessage.RCode
		answers int
	}{
		{"the zone", question("example.test.", dnsmessage.TypeA), dnsmessage.RCodeSuccess, 1},
		{"below it", question("a.b.Example.TEST.", dnsmessage.TypeA), dnsmessage.RCodeSuccess, 1},
		{"no such record", question("example.test.", dnsmessage.TypeAAAA), dnsmessage.RCodeSuccess, 0},
		{"ends like the zone", question("badexample.test.", dnsmessage.TypeA), dnsmessage.RCodeNameError, 0},
		{"another zone", question("example.com.", dnsmessage.TypeA), dnsmessage.RCodeNameError, 0},
	} {
		b, err := answerName(c.query)
		var m dnsmessage.Message
		if err == nil {
			err = m.Unpack(b)
		}
		if err != nil || m.ID != 7 || !m.Response || m.RCode != c.code || len(m.Answers) != c.answers {
			t.Errorf("%s: got %+v, %v", c.what, m, err)
		}
	}
	for _, nonsense := range []string{"", "x", "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"} {
		if _, err := answerName([]byte(nonsense)); err == nil {
			t.Errorf("%q is answered", nonsense)
		}
	}
	answer, err := answerName(question("example.test.", dnsmessage.TypeA))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := answerName(answer); err == nil {
		t.Error("answers are answered, in a loop")
	}
}
