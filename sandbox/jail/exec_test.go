package jail

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestExecTellsHowAProgramEnded(t *testing.T) {
	m := startMachine1(t)
	for _, c := range []struct {
		what    string
		command Command
		want    Result
	}{
		{"success", Command{Argv: []string{"true"}}, Result{}},
		{"its own code", Command{Argv: []string{"sh", "-c", "echo out; echo err >&2; exit 42"}},
			Result{ExitCode: 42, Stdout: []byte("out\n"), Stderr: []byte("err\n")}},
		{"killed by a signal", Command{Argv: []string{"sh", "-c", "kill -TERM $$"}}, Result{ExitCode: 128 + 15}},
		{"not in PATH", Command{Argv: []string{"no-such-program"}},
			Result{ExitCode: 127, Stderr: []byte("no-such-program: command not found\n")}},
		{"no such file", Command{Argv: []string{"/no/such/program"}},
			Result{ExitCode: 127, Stderr: []byte("/no/such/program: No such file or directory\n")}},
		{"not executable", Command{Argv: []string{"/etc/passwd"}},
			Result{ExitCode: 126, Stderr: []byte("/etc/passwd: Permission denied\n")}},
		{"no such directory", Command{Argv: []string{"true"}, Dir: "/nowhere"},
			Result{ExitCode: 126, Stderr: []byte("cd: /nowhere: No such file or directory\n")}},
		{"a zero byte in an argument", Command{Argv: []string{"echo", "a\x00b"}},
			Result{ExitCode: 126, Stderr: []byte("echo: Invalid argument\n")}},
		{"stdin", Command{Argv: []string{"cat"}, Stdin: []byte("hello")}, Result{Stdout: []byte("hello")}},
		{"stdin that nobody reads", Command{Argv: []string{"true"}, Stdin: make([]byte, 1<<20)}, Result{}},
		{"no stdin is at its end", Command{Argv: []string{"cat"}}, Result{}},
		{"the environment", Command{Argv: []string{"sh", "-c", "echo $HOME $A"}, Env: []string{"A=1", "HOME=/tmp"}},
			Result{Stdout: []byte("/tmp 1\n")}},
		{"the directory", Command{Argv: []string{"pwd"}, Dir: "/var"}, Result{Stdout: []byte("/var\n")}},
		{"the usual directory", Command{Argv: []string{"pwd"}}, Result{Stdout: []byte("/root\n")}},
		{"much output", Command{Argv: []string{"sh", "-c", "yes | head -c 5000000; echo done >&2"}, MaxOutput: 4},
			Result{Stdout: []byte("y\ny\n"), Stderr: []byte("done"), Truncated: true}},
		{"output just fits", Command{Argv: []string{"printf", "1234"}, MaxOutput: 4}, Result{Stdout: []byte("1234")}},
		{"output is all there when a background program keeps the pipe", Command{Argv: []string{"sh", "-c", "sleep 1000 & yes | head -c 60000"}},
			Result{Stdout: bytes.Repeat([]byte("y\n"), 30000)}},
		{"its time is up", Command{Argv: []string{"sh", "-c", "echo begun; sleep 1000 & wait"}, Timeout: 200 * time.Millisecond},
			Result{ExitCode: 137, Stdout: []byte("begun\n"), TimedOut: true}},
	} {
		got, err := m.Exec(deadline(t), c.command)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		if got.ExitCode != c.want.ExitCode || got.TimedOut != c.want.TimedOut || got.Truncated != c.want.Truncated ||
			!bytes.Equal(got.Stdout, c.want.Stdout) || !bytes.Equal(got.Stderr, c.want.Stderr) {
			t.Errorf("%s: got %+v\nstdout %q\nstderr %q", c.what, got, got.Stdout, got.Stderr)
		}
	}
	// What ran out of time took its children along, the background program lives.
	eventually(t, "one sleep is left", func() bool {
		return string(sh(t, m, "ps ax -o comm= | grep -cx sleep").Stdout) == "1\n"
	})
}

func TestExecRefusesWhatMakesNoSense(t *testing.T) {
	m := startMachine1(t)
	for _, c := range []struct {
		what    string
		command Command
		errno   unix.Errno
	}{
		{"no program", Command{}, unix.EINVAL},
		{"no such namespace", Command{Argv: []string{"true"}, Netns: "kon"}, unix.ENOENT},
		{"a namespace that is a path", Command{Argv: []string{"true"}, Netns: "../netns"}, unix.EINVAL},
		{"too many arguments", Command{Argv: []string{"echo", strings.Repeat("x", maxPacket)}}, unix.E2BIG},
	} {
		if _, err := m.Exec(deadline(t), c.command); !errors.Is(err, c.errno) {
			t.Errorf("%s: got %v, want %v", c.what, err, c.errno)
		}
	}
}

func TestALongExecDelaysNobody(t *testing.T) {
	m := startMachine1(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := m.Exec(ctx, Command{Argv: []string{"sh", "-c", "touch /tmp/runs; sleep 1000"}})
		ended <- err
	}()
	eventually(t, "the long program runs", func() bool { return sh(t, m, "test -e /tmp/runs").ExitCode == 0 })
	if err := m.AddNetns(deadline(t), "kon"); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("when the context ends, Exec says %v", err)
	}
	if r := sh(t, m, "ps ax -o comm= | grep -x sleep"); r.ExitCode == 0 {
		t.Error("when the context ends, the program does not")
	}
}

func TestWhatIsLeftInTheBackgroundLivesOn(t *testing.T) {
	m := startMachine1(t)
	shOut(t, m, "sleep 1000 &")
	if err := m.Spawn(deadline(t), Command{Argv: []string{"sleep", "2000"}}); err != nil {
		t.Error(err)
	}
	eventually(t, "both sleep", func() bool {
		return strings.Count(string(sh(t, m, "ps ax -o args=").Stdout), "sleep ") == 2
	})
}

func TestSpawnTellsWhatCanNotBeStarted(t *testing.T) {
	m := startMachine1(t)
	err := m.Spawn(deadline(t), Command{Argv: []string{"no-such-program"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-program: command not found") {
		t.Errorf("got %v", err)
	}
}

func TestAProgramInheritsNothing(t *testing.T) {
	m := startMachine1(t)
	if err := m.AddNetns(deadline(t), "kon"); err != nil {
		t.Fatal(err)
	}
	r, err := m.Exec(deadline(t), Command{Argv: []string{"sh", "-c", "ls /proc/$$/fd; umask; env | cut -d= -f1 | sort | xargs"}, Netns: "kon"})
	want := "0\n1\n2\n0022\nHOME LANG LOGNAME PATH PWD SHELL TERM USER\n"
	if err != nil || string(r.Stdout) != want {
		t.Errorf("%v\ngot  %q\nwant %q", err, r.Stdout, want)
	}
}
