package kernel

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"time"

	"kabel/sandbox/host"
	"kabel/sandbox/topo"
)

// A namespace without a name, as a container engine makes it, has terminals too.
func TestTerminalInANamespaceWithoutAName(t *testing.T) {
	h := openHost(t)
	w, err := h.Create(t.Context(), host.Spec{ID: "w", Machines: []topo.Machine{{Name: "host1", Kind: topo.KindHost}}})
	if err != nil {
		t.Fatal(err)
	}
	sit := func(node topo.NodeID, keys string) *bufio.Scanner {
		t.Helper()
		term, err := w.Terminal(t.Context(), host.TerminalRequest{Node: node})
		if err != nil {
			t.Fatal(err)
		}
		stuck := time.AfterFunc(20*time.Second, func() { term.Close() })
		t.Cleanup(func() {
			stuck.Stop()
			term.Close()
		})
		if _, err := io.WriteString(term, keys); err != nil {
			t.Fatal(err)
		}
		return bufio.NewScanner(term)
	}
	sees := func(s *bufio.Scanner, text string) {
		t.Helper()
		for s.Scan() {
			if strings.HasSuffix(strings.TrimSpace(s.Text()), text) {
				return
			}
		}
		t.Fatalf("%q is not shown: %v", text, s.Err())
	}
	sees(sit("host1", "unshare -n sh -c 'ip link set lo up; echo rea''dy; sleep 1000'\r"), "ready")
	now, err := w.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range now.Nodes {
		if strings.HasPrefix(n.ID.Netns(), unnamed) {
			sees(sit(n.ID, "echo $(ip -o link | wc -l) link, $(ip -o addr | wc -l) addresses, $(hostname)\r"), "1 link, 2 addresses, host1")
			return
		}
	}
	t.Errorf("there is no namespace without a name: %v", now.Nodes)
}
