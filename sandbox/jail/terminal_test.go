package jail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// person sits at a terminal.
type person struct {
	t     testing.TB
	term  *Terminal
	shown bytes.Buffer
}

func sit(t testing.TB, m *Machine, c TerminalCommand) *person {
	t.Helper()
	atPrompt := c.Argv == nil
	c.Env = append(c.Env, "TERM=dumb") // or readline mixes escape sequences in
	term, err := m.Terminal(deadline(t), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = term.Close() // most tests have done so
		<-term.Done()
	})
	stuck := time.AfterFunc(10*time.Second, func() { term.Close() })
	t.Cleanup(func() { stuck.Stop() })
	p := &person{t: t, term: term}
	if atPrompt {
		p.sees(prompt)
	}
	return p
}

func (p *person) types(keys string) {
	p.t.Helper()
	if _, err := io.WriteString(p.term, keys); err != nil {
		p.t.Fatalf("type %q: %v", keys, err)
	}
}

// sees waits until something was shown since it was last called, and returns
// what the parts of the expression in brackets stand for.
func (p *person) sees(expression string) []string {
	p.t.Helper()
	want := regexp.MustCompile(expression)
	buf := make([]byte, 4096)
	for {
		if m := want.FindSubmatchIndex(p.shown.Bytes()); m != nil {
			found := []string{}
			for i := 2; i < len(m); i += 2 {
				found = append(found, string(p.shown.Bytes()[m[i]:m[i+1]]))
			}
			p.shown.Next(m[1])
			return found
		}
		n, err := p.term.Read(buf)
		p.shown.Write(buf[:n])
		if err != nil {
			p.t.Fatalf("waiting for %q, %v after:\n%s", expression, err, p.shown.String())
		}
	}
}

const prompt = `root@host1\[?(\w*)\]?:~# $`

// runs types a command and waits until its program runs.
func (p *person) runs(command string) {
	p.t.Helper()
	p.types(command + "\r")
	p.sees(regexp.QuoteMeta(command) + "\r\n")
	eventually(p.t, command+" runs", func() bool { return sh(p.t, p.term.machine, "pgrep -x 'sleep|cat'").ExitCode == 0 })
}

func TestTerminal(t *testing.T) {
	m := startMachine1(t)
	if err := m.AddNetns(deadline(t), "kon"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what    string
		command TerminalCommand
		do      func(p *person)
	}{
		{"a container's network with the machine's files", TerminalCommand{Netns: "kon"}, func(p *person) {
			p.types("true\r")
			if in := p.sees(prompt); in[0] != "kon" {
				p.t.Errorf("the prompt tells %q", in)
			}
			p.types("ip -br link | wc -l; ls /run/netns\r")
			p.sees("\n1\r\nkon\r\n")
			p.types("ip netns add of-kon; ip netns identify\r") // as with nsenter --net, it lasts
			p.sees("\nkon\r\n")
			if shOut(p.t, m, "ip netns") != "of-kon\nkon" {
				p.t.Error("a namespace that was made in a container's shell is not there")
			}
		}},
		{"a terminal of its own machine", TerminalCommand{}, func(p *person) {
			p.types("tty; ps -o tty= $$; stty -a | grep -o --color=never ' iutf8'\r")
			found := p.sees(`\n(/dev/pts/\d+)\r\n(pts/\d+) *\r\n iutf8`)
			if found[0] != "/dev/"+found[1] {
				p.t.Errorf("%q", found)
			}
		}},
		{"a size, and another", TerminalCommand{Rows: 33, Cols: 101}, func(p *person) {
			p.types("stty size\r")
			p.sees("\n33 101\r\n")
			p.runs("bash -c 'trap \"echo chan''ged\" WINCH; while sleep .1; do :; done'")
			if err := p.term.Resize(50, 132); err != nil {
				p.t.Fatal(err)
			}
			p.sees("changed")
			p.types("\x03")
			p.sees(prompt)
			p.types("stty size; echo $COLUMNS\r")
			p.sees("\n50 132\r\n132\r\n")
		}},
		{"an interrupt ends what is in the foreground", TerminalCommand{}, func(p *person) {
			p.runs("sleep 1000")
			p.types("\x03")
			p.sees(prompt)
			p.types("echo $?\r")
			p.sees("\n130\r\n")
		}},
		{"job control", TerminalCommand{}, func(p *person) {
			p.runs("sleep 1000")
			p.types("\x1a")
			p.sees(`Stopped +sleep 1000\r\n`)
			p.types("bg; jobs\r")
			p.sees(`Running +sleep 1000 &\r\n`)
			p.types("fg\r")
			p.sees("\nsleep 1000\r\n")
			eventually(p.t, "it is in the foreground", func() bool { return sh(p.t, m, "ps -C sleep -o stat= | grep -q +").ExitCode == 0 })
			p.types("\x03")
			p.sees(prompt)
		}},
		{"characters of several bytes", TerminalCommand{}, func(p *person) {
			p.types("echo 한글 · nhiều ${#LANG}\r")
			p.sees("\n한글 · nhiều 7\r\n")
			p.runs("cat")
			p.types("a한\x7fb\r\x04") // rubbed out whole
			p.sees("\nab\r\n")
		}},
		{"the code that the shell ends with", TerminalCommand{}, func(p *person) {
			p.types("exit 42\r")
			p.ends(42)
		}},
		{"a signal that ends it", TerminalCommand{}, func(p *person) {
			p.types("kill -KILL $$\r")
			p.ends(128 + 9)
		}},
		{"another program", TerminalCommand{Argv: []string{"sh", "-c", "echo $A; exit 3"}, Env: []string{"A=1"}}, func(p *person) {
			p.sees("1\r\n")
			p.ends(3)
		}},
		{"a program that is not there", TerminalCommand{Argv: []string{"no-such-program"}}, func(p *person) {
			p.sees("no-such-program: command not found\r\n")
			p.ends(127)
		}},
		{"a program in the background does not keep it", TerminalCommand{}, func(p *person) {
			p.runs("sleep 1234 &")
			p.types("disown -h; exit\r")
			p.ends(0)
			shOut(p.t, m, "pkill -f 'sleep 123[4]'")
		}},
	} {
		t.Run(c.what, func(t *testing.T) { c.do(sit(t, m, c.command)) })
	}
}

// ends reads to the end.
func (p *person) ends(code int) {
	p.t.Helper()
	rest, err := io.ReadAll(p.term)
	if err != nil {
		p.t.Fatalf("%v after %q", err, rest)
	}
	if got, err := p.term.ExitCode(); got != code || err != nil {
		p.t.Errorf("it ends with the code %d, %v, not %d; shown last: %q", got, err, code, rest)
	}
}

func TestTerminalThatIsClosedHangsUp(t *testing.T) {
	m := startMachine1(t)
	for what, script := range map[string]string{
		"what is in the foreground": "sleep 4321",
		"a job in the background":   "sleep 4321 & echo; wait",
		"a program that reads":      "cat; sleep 4321",
	} {
		t.Run(what, func(t *testing.T) {
			p := sit(t, m, TerminalCommand{})
			p.runs(script)
			if err := p.term.Close(); err != nil {
				t.Fatal(err)
			}
			<-p.term.Done()
			eventually(t, "no program is left", func() bool { return sh(t, m, "pgrep -x 'sleep|cat'").ExitCode == 1 })
			if _, err := p.term.Read(make([]byte, 1)); err == nil {
				t.Error("a closed terminal can be read")
			}
		})
	}
}

func TestTerminalThatIsClosedEndsAShellThatIgnoresIt(t *testing.T) {
	p := sit(t, startMachine1(t), TerminalCommand{Argv: []string{"bash", "-c", "trap '' HUP; echo deaf; while :; do :; done"}})
	p.sees("deaf")
	if err := p.term.Close(); err != nil {
		t.Fatal(err)
	}
	if code, err := p.term.ExitCode(); code != 128+9 || err != nil {
		t.Errorf("it ends with the code %d, %v", code, err)
	}
}

func TestTerminalHistoryIsTheMachines(t *testing.T) {
	m := startMachine1(t)
	first, second := sit(t, m, TerminalCommand{}), sit(t, m, TerminalCommand{})
	for i, p := range []*person{first, second} {
		p.types(fmt.Sprintf(": number %d\r", i))
		p.sees(prompt)
	}
	if got := shOut(t, m, "cat /root/.bash_history"); got != ": number 0\n: number 1" {
		t.Errorf("the history is %q", got)
	}
	third := sit(t, m, TerminalCommand{})
	third.types("\x1b[A\r")
	third.sees(": number 1")
}

func TestTerminalOfAMachineThatEnds(t *testing.T) {
	b, ms := startBox(t, openYard(t, Options{}), "w", "host1")
	p := sit(t, ms[0], TerminalCommand{})
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(p.term); err != nil {
		t.Errorf("reading: %v", err)
	}
	if _, err := p.term.ExitCode(); !errors.Is(err, ErrGone) {
		t.Errorf("it ended with %v", err)
	}
}

// A learner can do as they like with what a terminal is opened by.
func TestTerminalOpensWhateverALearnerDid(t *testing.T) {
	for _, script := range []string{
		"mount -t tmpfs none /dev/pts; mkfifo /dev/pts/ptmx",
		"mkfifo /tmp/f; mount --bind /tmp/f /dev/pts/ptmx",
		"umount -l /dev/pts",
		"chmod 0 /dev/pts/ptmx",
	} {
		t.Run(script, func(t *testing.T) {
			m := startMachine1(t)
			sh(t, m, script)
			term, err := m.Terminal(deadline(t), TerminalCommand{Argv: []string{"echo", "here"}})
			if err != nil {
				t.Log(err) // what counts is that it does not hang
				return
			}
			defer term.Close()
			if out, _ := io.ReadAll(term); !strings.Contains(string(out), "here") {
				t.Errorf("shown: %q", out)
			}
		})
	}
}

func TestTerminalsAreBounded(t *testing.T) {
	// The race detector makes a shim large.
	_, ms := startBox(t, openYard(t, Options{Limits: Limits{MemoryMiB: 4096}}), "w", "host1")
	m := ms[0]
	var open []*Terminal
	for {
		term, err := m.Terminal(deadline(t), TerminalCommand{Argv: []string{"cat"}})
		if err != nil {
			if !errors.Is(err, unix.ENOSPC) {
				t.Errorf("refused with %v", err)
			}
			break
		}
		if open = append(open, term); len(open) > 64 {
			t.Error("there is no end of terminals")
			break
		}
	}
	for _, term := range open {
		if err := term.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, term := range open {
		<-term.Done()
	}
}

func TestTerminalThatNobodyReadsHoldsItsProgramUp(t *testing.T) {
	m := startMachine1(t)
	p := sit(t, m, TerminalCommand{Argv: []string{"sh", "-c", "yes & echo $! >/tmp/pid; wait"}})
	eventually(t, "yes waits", func() bool {
		return sh(t, m, "cat /proc/$(cat /tmp/pid)/stat | grep ' S '").ExitCode == 0
	})
	p.types("\x03")
	_, _ = io.Copy(io.Discard, p.term)
	p.ends(130)
}

func BenchmarkPrompt(b *testing.B) {
	m := startMachine1(b)
	for b.Loop() {
		p := sit(b, m, TerminalCommand{})
		if err := p.term.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
