package jail

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	elevateEnv = "KABEL_TEST_ELEVATE" // be an ordinary user who calls Elevate
	victimEnv  = "KABEL_TEST_VICTIM"  // be a sandbox with this state directory, to be killed
)

// beVictim has worlds with programs in them, and says what processes they are.
func beVictim(dir string) error {
	y, err := Open(Options{StateDir: dir})
	if err != nil {
		return err
	}
	ctx := context.Background()
	for _, name := range []string{"w1", "w2"} {
		b, err := y.Start(ctx, name)
		if err != nil {
			return err
		}
		for _, host := range []string{"host1", "host2"} {
			m, err := b.AddMachine(ctx, host)
			if err != nil {
				return err
			}
			if err := m.Spawn(ctx, Command{Argv: []string{"sleep", "1000"}}); err != nil {
				return err
			}
		}
		pids, err := b.Pids()
		if err != nil {
			return err
		}
		for _, p := range pids {
			fmt.Print(p, " ")
		}
	}
	fmt.Println()
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, errors.New("nobody killed me"))
}

func TestWhenTheSandboxIsKilledItsWorldsEnd(t *testing.T) {
	dir := t.TempDir()
	killVictim(t, exec.Command(self), dir)
	y := openYard(t, Options{StateDir: dir}) // and its Close leaves nothing
	startBox(t, y, "w1", "host1")
}

func TestWhenTheProcessBeforeElevateIsKilledTheWorldsEnd(t *testing.T) {
	if !unelevated() {
		return // here there is no such process
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	killVictim(t, asNobody(t, ""), dir)
}

// killVictim starts a sandbox, and kills it when it has worlds.
func killVictim(t *testing.T, cmd *exec.Cmd, dir string) {
	t.Helper()
	cmd.Env = append(cmd.Environ(), victimEnv+"="+dir)
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pids := strings.Fields(line)
	if len(pids) != 2*(1+2*2) {
		t.Errorf("two worlds with two machines and two programs each are %d processes: %s", len(pids), line)
	}
	for _, p := range pids {
		if !alive(t, p) {
			t.Errorf("process %s does not live before the kill", p)
		}
	}
	if y, err := Open(Options{StateDir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another sandbox") {
		t.Errorf("a second sandbox with the same state directory: %v, %v", y, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for _, p := range pids {
		eventually(t, "process "+p+" ends with the sandbox", func() bool { return !alive(t, p) })
	}
}

func TestASuccessorEndsWhatWasStopped(t *testing.T) {
	dir := t.TempDir()
	y := openYard(t, Options{StateDir: t.TempDir()})
	b, _ := startBox(t, y, "w", "host1")
	// As if this yard's sandbox had died while its box could not run.
	if err := unix.Kill(b.pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if left, err := findInits(y.tag); err != nil || len(left) != 2 {
		t.Errorf("the inits of a box and its machine: %v, %v", left, err)
	}
	if err := killAll(y.tag); err != nil {
		t.Error(err)
	}
	<-b.Done()
	if left, err := Leftovers(dir); err != nil || len(left) == 0 {
		t.Errorf("the namespaces that this process still holds are not told: %v, %v", left, err)
	}
}

// alive says whether a process runs. One that has ended and that its new parent,
// the real machine's init, has not yet taken note of, does not.
func alive(t *testing.T, pid string) bool {
	t.Helper()
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return false
	} else if err != nil {
		t.Fatal(err)
	}
	return !strings.Contains(string(status), "State:\tZ")
}
