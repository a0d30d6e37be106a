//lint:file-ignore SA1019 the library of choice; see httpapi/stream.go

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kabel/server/capture"
)

// play starts a lab and does its steps up to the last.
func (s *running) play(lab string) (path, key string) {
	s.t.Helper()
	created := s.must("POST", "/api/v1/sessions", "", map[string]any{"lab": lab})
	path, key = "/api/v1/sessions/"+created["id"].(string), created["token"].(string)
	for _, step := range created["steps"].([]any) {
		s.must("POST", path+"/steps/"+step.(map[string]any)["id"].(string)+"/apply", key, nil)
	}
	return path, key
}

// way writes the places of a row as a person would.
func way(r capture.Row) string {
	var places []string
	for _, s := range r.Sightings {
		direction := ">"
		if s.Out {
			direction = "<"
		}
		places = append(places, fmt.Sprintf("%s%s:%s", direction, s.Node, s.Link))
	}
	return strings.ReplaceAll(strings.Join(places, " "), "<", "out ")
}

// TestATypedPingIsOneRow: a ping that is typed into a terminal is seen by a viewer
// as one row for the request and one for the reply, with every interface that they
// crossed, in order.
func TestATypedPingIsOneRow(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s := start(t, dataDir(t), 0)
	path, key := s.play("one-host-bridge")
	conn := s.dial(ctx, path+"/packets?filter=icmp", key)
	read := func() (m packetsMessage) {
		t.Helper()
		_, b, err := conn.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := read(); m.Type != "start" {
		t.Fatalf("first comes %+v", m)
	}
	p := s.sit(ctx, path+"/terminals/host1?rows=24&cols=80", key)
	p.sees(`root@host1:~# `)
	// The capture may still be opening its rings: the first pings may be missed.
	p.types("ip netns exec kon1 ping -i 0.2 -c 20 172.16.0.3\r")
	wantOut := "out host1/kon1:veth11 >host1:veth10 out host1:veth20 >host1/kon2:veth21"
	wantBack := "out host1/kon2:veth21 >host1:veth20 out host1:veth10 >host1/kon1:veth11"
	rows := map[uint64]capture.Row{}
	whole := func(r capture.Row, want string) bool {
		return strings.ReplaceAll(way(r), ">", "") == strings.ReplaceAll(want, ">", "")
	}
	for {
		m := read()
		for _, r := range m.Rows {
			rows[r.ID] = r
		}
		answered := 0
		for _, r := range rows {
			if r.State == "answered" && whole(r, wantOut) && whole(rows[r.AnsweredBy], wantBack) {
				answered++
			}
		}
		if answered >= 10 {
			return
		}
		if len(rows) > 60 {
			for _, r := range rows {
				t.Logf("%d %s %s: %s", r.ID, r.Info, r.State, way(r))
			}
			t.Fatal("the pings are not two rows each")
		}
	}
}

// TestARecordingIsReadByTshark: what curl or `server capture` writes is what
// Wireshark reads, with the interfaces by their names.
func TestARecordingIsReadByTshark(t *testing.T) {
	s := start(t, dataDir(t), 0)
	path, key := s.play("two-hosts-overlay-tun")
	file := filepath.Join(t.TempDir(), "a.pcapng")
	id := strings.TrimPrefix(path, "/api/v1/sessions/")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	t.Setenv("KABEL_TOKEN", key)
	go func() {
		done <- Run(ctx, []string{"capture", "--server", s.url, "--session", id, "--filter", "icmp or udp port 9000", "-o", file}, os.Stdout, os.Stderr)
	}()
	places := []string{"host1/kon1:", "host1:", "host2:"}
	// The capture opens its rings one after the other.
	eventually(t, "a ping in the file, from end to end", func() bool {
		s.must("POST", path+"/probes", key, map[string]any{"from": "host1/kon1", "kind": "ping", "to": "172.16.1.2"})
		b, err := os.ReadFile(file)
		return err == nil && !slices.ContainsFunc(places, func(p string) bool { return !strings.Contains(string(b), p) })
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tshark", "-r", file, "-T", "fields", "-e", "frame.interface_name", "-e", "frame.protocols")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("tshark: %v\n%s", err, out)
	}
	seen := strings.Split(strings.TrimSpace(string(out)), "\n")
	for _, want := range places {
		if !slices.ContainsFunc(seen, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("nothing was seen on %s: %s", want, out)
		}
	}
	if !strings.Contains(string(out), "icmp") || !strings.Contains(string(out), "udp") {
		t.Errorf("neither inner nor outer packets: %s", out)
	}
}
