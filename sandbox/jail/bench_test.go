package jail

import (
	"testing"
)

// What a world costs. Targets: 4.5 ms for a box, 6 ms for each machine.

func BenchmarkStart(b *testing.B) {
	y := openYard(b, Options{})
	for i := 0; b.Loop(); i++ {
		box, err := y.Start(b.Context(), "w")
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := box.Kill(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkAddMachine(b *testing.B) {
	y := openYard(b, Options{})
	for b.Loop() {
		b.StopTimer()
		box, err := y.Start(b.Context(), "w")
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := box.AddMachine(b.Context(), "host1"); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := box.Kill(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

func BenchmarkExec(b *testing.B) {
	m := startMachine1(b)
	for b.Loop() {
		if _, err := m.Exec(b.Context(), Command{Argv: []string{"/bin/true"}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAddNetns(b *testing.B) {
	// The kernel frees namespaces later than it is asked to.
	_, ms := startBox(b, openYard(b, Options{Limits: Limits{Namespaces: 10000}}), "w", "host1")
	m := ms[0]
	for b.Loop() {
		if err := m.AddNetns(b.Context(), "kon"); err != nil {
			b.Fatal(err)
		}
		if err := m.DelNetns(b.Context(), "kon"); err != nil {
			b.Fatal(err)
		}
	}
}
