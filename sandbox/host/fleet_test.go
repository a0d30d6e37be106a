package host_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"kabel/sandbox/host"
	"kabel/sandbox/host/contract"
)

// fleetOf waits until a fleet knows that many hosts.
func fleetOf(t testing.TB, nc *nats.Conn, hosts int) *host.Fleet {
	t.Helper()
	f, err := host.OpenFleet(nc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	waitFor(t, func() bool { return len(f.Hosts()) == hosts })
	return f
}

func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	limit := time.After(30 * time.Second)
	for !done() {
		select {
		case <-again.C:
		case <-limit:
			t.Fatal("it did not come to pass")
		}
	}
}

func TestFleetKeepsTheContract(t *testing.T) {
	contract.Test(t, func(t *testing.T) host.Host {
		s := startNATS(t)
		for i := range 2 {
			m := host.NewModel()
			t.Cleanup(func() { m.Close() })
			id := fmt.Sprint("host-", i)
			serve(t, connect(t, s), m, id)
			dial(t, connect(t, s), id)
		}
		return fleetOf(t, connect(t, s), 2)
	})
}

func TestFleetSpreadsWorldsAndOutlivesAHost(t *testing.T) {
	s := startNATS(t)
	var models [2]*host.Model
	var stops [2]func()
	for i := range models {
		models[i] = host.NewModel()
		defer models[i].Close()
		stops[i] = serve(t, connect(t, s), models[i], fmt.Sprint("host-", i))
	}
	f := fleetOf(t, connect(t, s), 2)
	create := func(id host.WorldID) error {
		one := spec
		one.ID = id
		_, err := f.Create(t.Context(), one)
		return err
	}
	for i := range 4 {
		if err := create(host.WorldID(fmt.Sprint("w", i))); err != nil {
			t.Fatal(err)
		}
		// The next beat tells of it; until then the load would be guessed.
		waitFor(t, func() bool {
			sum := 0
			for _, st := range f.Hosts() {
				sum += st.Worlds
			}
			return sum == i+1
		})
	}
	for i, m := range models {
		if ids, _ := m.Worlds(t.Context()); len(ids) != 2 {
			t.Errorf("host %d has the worlds %q", i, ids)
		}
	}
	if st, err := f.Status(t.Context()); err != nil || st.Worlds != 4 || len(st.Missing) != 2 {
		t.Errorf("status is %+v, %v", st, err)
	}
	gone, err := models[0].Worlds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stops[0]()
	waitFor(t, func() bool { return len(f.Hosts()) == 1 })
	if _, err := f.World(t.Context(), gone[0]); host.CodeOf(err) != host.CodeNotFound {
		t.Errorf("a world of a host that is gone: %v", err)
	}
	if err := create("another"); err != nil {
		t.Errorf("create with one host left: %v", err)
	}
	stops[1]()
	waitFor(t, func() bool { return len(f.Hosts()) == 0 })
	if err := create("more"); host.CodeOf(err) != host.CodeUnavailable {
		t.Errorf("create without a host: %v", err)
	}
}
