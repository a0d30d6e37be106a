package host_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/server/proof"
	"kabel/server/session"
)

// TestModelPlaysEveryLab proves the labs on the Model as `server lab test` does
// on a kernel, so that the one stands for the other in the server's tests. Labs
// about what it does not model are proved on a kernel only; they are named here.
func TestModelPlaysEveryLab(t *testing.T) {
	catalog, err := labs.BuiltIn()
	if err != nil {
		t.Fatal(err)
	}
	m := host.NewModel()
	sessions, err := session.Open(t.Context(), session.Options{Host: m, Labs: catalog, Records: &session.Memory{}, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(sessions.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	// Servers, rules of the firewall and address translation.
	beyond := []string{"host-network", "reach-the-internet", "publish-a-port", "why-is-it-dropped"}
	for _, lab := range catalog.Labs() {
		t.Run(lab.ID, func(t *testing.T) {
			t.Parallel()
			ctx, exception := t.Context(), slices.Contains(beyond, lab.ID)
			if exception { // it is played no longer than the longest of the others
				var end context.CancelFunc
				ctx, end = context.WithTimeout(ctx, 10*time.Second)
				defer end()
			}
			report, err := proof.Run(ctx, proof.Options{Sessions: sessions, Ways: []proof.Way{proof.Button}, Patience: 5 * time.Second}, []*labs.Lab{lab})
			if exception {
				if err == nil && report.Faulty() == 0 {
					t.Error("the Model plays this lab now: it need not be an exception")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if report.Faulty() > 0 {
				var text strings.Builder
				_ = report.WriteText(&text)
				t.Error(text.String())
			}
		})
	}
}
