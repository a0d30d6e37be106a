package jail

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestIDsAreReadFromTheOwnUserNamespace(t *testing.T) {
	for _, c := range []struct {
		what, uidMap string
		ids          idRange
		rootless     bool
	}{
		{"the initial namespace has all", "         0          0 4294967295\n", idRange{size: 65536, slots: idSlots}, false},
		{"an ordinary user with subordinate ids", "0 1000 1\n1 100000 65536\n", idRange{size: 65536, slots: 1, shared: true}, true},
		{"an ordinary user without", "0 1000 1\n", idRange{size: 1, slots: 1, shared: true}, true},
		{"too few to be of use", "0 1000 1\n1 100000 100\n", idRange{size: 1, slots: 1, shared: true}, true},
		{"a gap", "0 1000 1\n5000 100000 65536\n", idRange{size: 1, slots: 1, shared: true}, true},
	} {
		ids, rootless, err := parseIDs(c.uidMap)
		if err != nil || ids != c.ids || rootless != c.rootless {
			t.Errorf("%s: got %+v, %v, %v", c.what, ids, rootless, err)
		}
	}
	if _, _, err := parseIDs("zero one two"); err == nil {
		t.Error("nonsense is accepted")
	}
}

// asNobody is this program, run by a user who is nobody and calls Elevate.
// prepare is a piece of shell that is run by root in a mount namespace of its own.
func asNobody(t *testing.T, prepare string, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != filepath.Dir(d) && d != os.TempDir(); d = filepath.Dir(d) { // nobody has to come in
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	own, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "jail.test")
	if err := os.WriteFile(program, own, 0o755); err != nil {
		t.Fatal(err)
	}
	script := prepare + ` exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"`
	cmd := exec.Command("unshare", append([]string{"--mount", "sh", "-c", script, "sh", program}, args...)...)
	cmd.Dir = os.TempDir()
	cmd.Env = append(os.Environ(), elevateEnv+"=1")
	return cmd
}

// unelevated says whether this is the first, privileged run of the suite.
func unelevated() bool { return os.Getuid() == 0 && os.Getenv(elevateEnv) == "" }

// The whole suite again, by an ordinary user: once with one id, once with
// subordinate ids. Only for these processes /etc/subuid says so.
func TestAnOrdinaryUser(t *testing.T) {
	if !unelevated() {
		return // this is what it runs
	}
	for what, prepare := range map[string]string{
		"one id": "",
		"subordinate ids": `ids=$(mktemp) && chmod 644 $ids && echo nobody:1744830464:65536 > $ids &&
			mount --bind $ids /etc/subuid && mount --bind $ids /etc/subgid && rm $ids &&`,
	} {
		t.Run(what, func(t *testing.T) {
			out, err := asNobody(t, prepare, "-test.count=1", "-test.timeout=3m").CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestElevateHandsOnASocketAndTheExitCode(t *testing.T) {
	if !unelevated() {
		return // then all tests run behind Elevate
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	defer ours.Close()
	cmd := asNobody(t, "")
	cmd.Env = append(cmd.Env, answerEnv+"=1")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = t.Output()
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(ours)
	if err != nil || string(said) != "root of its own" {
		t.Errorf("on descriptor 3: %q, %v", said, err)
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("exit code %d", code)
	}
}

const answerEnv = "KABEL_TEST_ANSWER" // say on descriptor 3 who you are, and exit with 7

func sayWho() {
	if ids, rootless, err := readIDs(); err == nil && rootless && ids.size == 1 && os.Geteuid() == 0 {
		_, _ = unix.Write(passedFD, []byte("root of its own"))
	}
	os.Exit(7)
}
