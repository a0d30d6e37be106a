package jail

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
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

// The whole suite again, by a user who is nobody: once with one id, once with
// subordinate ids. Only for this test's processes /etc/subuid says so.
func TestAnOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 || os.Getenv(elevateEnv) != "" {
		return // this is what it runs
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) { // nobody has to come in
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, ids := filepath.Join(dir, "jail.test"), filepath.Join(dir, "ids")
	if err := errors.Join(copyFile(program, self, 0o755), os.WriteFile(ids, []byte("nobody:1744830464:65536\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	const asNobody = `exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"`
	for what, script := range map[string]string{
		"one id":          asNobody,
		"subordinate ids": `mount --bind $IDS /etc/subuid && mount --bind $IDS /etc/subgid && ` + asNobody,
	} {
		t.Run(what, func(t *testing.T) {
			cmd := exec.Command("unshare", "--mount", "sh", "-c", script, "sh", program, "-test.count=1", "-test.timeout=2m")
			cmd.Dir = "/tmp"
			cmd.Env = append(os.Environ(), elevateEnv+"=1", "IDS="+ids, "TMPDIR=/tmp")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func copyFile(to, from string, mode os.FileMode) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, mode)
}
