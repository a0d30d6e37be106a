package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kabel/server/proof"
)

// TestLabTestLeavesNothing proves a step all three ways and looks at the machine
// before and after, which the program itself, without root, can't.
func TestLabTestLeavesNothing(t *testing.T) {
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	before := state(t)
	file := filepath.Join(t.TempDir(), "report.json")
	cmd := exec.Command(filepath.Join(dir, "server"), "lab", "test", "-step", "host-route", "-variant", "default", "-json", file, "one-namespace")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "nothing is left behind") {
		t.Fatalf("%v:\n%s", err, out)
	}
	eventually(t, "nothing is left: "+before, func() bool { return state(t) == before })
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report proof.Report
	if err := json.Unmarshal(b, &report); err != nil || len(report.Labs) != 1 || len(report.Labs[0].Ways) != 3 || len(report.Labs[0].Cases) == 0 {
		t.Errorf("%v in:\n%s", err, b)
	}
}
