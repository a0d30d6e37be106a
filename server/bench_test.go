package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"kabel/labs"
	"kabel/sandbox/host"
	"kabel/sandbox/jail"
	"kabel/sandbox/kernel"
	"kabel/server/engine"
	"kabel/server/httpapi"
	"kabel/server/session"
)

// modelTwo is Model 2 in the steps of its lab, without the pings.
var modelTwo = [][]string{
	{"ip netns add kon1", "ip netns add kon2"},
	{"ip link add veth10 type veth peer name veth11", "ip link add veth20 type veth peer name veth21", "ip link set veth11 netns kon1", "ip link set veth21 netns kon2"},
	{"ip -n kon1 addr add 172.16.0.2/24 dev veth11", "ip -n kon2 addr add 172.16.0.3/24 dev veth21", "ip -n kon1 link set dev veth11 up", "ip -n kon2 link set dev veth21 up", "ip -n kon1 link set lo up", "ip -n kon2 link set lo up"},
	{"ip link add name br0 type bridge", "ip link set dev veth10 master br0", "ip link set dev veth20 master br0"},
	{"ip link set dev br0 up", "ip link set dev veth10 up", "ip link set dev veth20 up", "ip addr add 172.16.0.1/24 dev br0"},
	{"ip -n kon1 route add default via 172.16.0.1 dev veth11", "ip -n kon2 route add default via 172.16.0.1 dev veth21"},
}

// modelTwoLab is a lab whose steps are those, each done when its last command is.
func modelTwoLab() fstest.MapFS {
	checks := []string{"node('host1/kon2').exists", "link('host1/kon2','veth21').exists", "link('host1/kon2','lo').up", "link('host1','veth20').master == 'br0'", "has_addr('host1','br0','172.16.0.1/24')", "route('host1/kon2','default').exists"}
	lab := &strings.Builder{}
	text := &strings.Builder{}
	lab.WriteString("id: model\ntrack: a\norder: 1\nminutes: 1\nmachines:\n  - name: host1\n    kind: host\n    links:\n      - {name: eth0, to: sw, addresses: [10.0.0.10/24]}\n  - name: sw\n    kind: switch\nsteps:\n")
	text.WriteString("# Model\n\n> Model 2.\n\nModel 2.\n")
	for i, commands := range modelTwo {
		fmt.Fprintf(lab, "  - id: s%d\n    on: host1\n    do:\n", i)
		for _, c := range commands {
			fmt.Fprintf(lab, "      - %s\n", c)
		}
		fmt.Fprintf(lab, "    check: \"%s\"\n    hints: [{id: nothing, when: \"!node('host1').exists\"}, {id: none}]\n    wrong: [{id: w, do: [ip link add w type bridge], hint: none}]\n", checks[i])
		fmt.Fprintf(text, "\n## step s%d: Step\n\nText.\n\n### hint nothing\n\nNothing.\n\n### hint none\n\nHint.\n\n### after\n\nDone.\n", i)
	}
	return fstest.MapFS{"model/lab.yaml": {Data: []byte(lab.String())}, "model/en.md": {Data: []byte(text.String())}}
}

// serveForBench is a server and a sandbox in this process, with the engine's wire
// between them.
func serveForBench(b *testing.B, catalog *labs.Catalog) (*session.Registry, *httptest.Server) {
	b.Helper()
	log := slog.New(slog.DiscardHandler)
	yard, err := jail.Open(jail.Options{StateDir: b.TempDir(), Log: log})
	if err != nil {
		b.Fatal(err)
	}
	h, err := kernel.New(yard, kernel.Options{ID: "bench", Log: log})
	if err != nil {
		b.Fatal(err)
	}
	e, err := engine.Open(b.Context(), engine.Options{DataDir: b.TempDir(), Log: log})
	if err != nil {
		b.Fatal(err)
	}
	serving, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- host.Serve(serving, e.Conn(), h, "bench") }()
	fleet, err := host.OpenFleet(e.Conn())
	if err != nil {
		b.Fatal(err)
	}
	if err := (&backend{}).awaitHost(b.Context(), fleet); err != nil {
		b.Fatal(err)
	}
	records, err := e.Store(b.Context(), "sessions")
	if err != nil {
		b.Fatal(err)
	}
	reg, err := session.Open(b.Context(), session.Options{Host: fleet, Labs: catalog, Records: records, Log: log})
	if err != nil {
		b.Fatal(err)
	}
	srv := httptest.NewServer(httpapi.New(httpapi.Options{Sessions: reg, Log: log}))
	b.Cleanup(func() {
		srv.Close()
		for _, err := range []error{reg.Close(), fleet.Close()} {
			if err != nil {
				b.Error(err)
			}
		}
		stop()
		for _, err := range []error{<-served, e.Close(), h.Close(), yard.Close()} {
			if err != nil {
				b.Error(err)
			}
		}
	})
	return reg, srv
}

// BenchmarkModelTwoThroughTheAPI builds Model 2 by the buttons of its lab, over
// HTTP, the engine's wire and netlink, and by the same commands as a shell script
// in the same machine, in turn. It reports the medians and script:steps.
func BenchmarkModelTwoThroughTheAPI(b *testing.B) {
	catalog, err := labs.Load(modelTwoLab())
	if err != nil {
		b.Fatal(err)
	}
	reg, srv := serveForBench(b, catalog)

	call := func(path, key string, in any) map[string]any {
		body, err := json.Marshal(in)
		if err != nil {
			b.Fatal(err)
		}
		req, err := http.NewRequestWithContext(b.Context(), "POST", srv.URL+path, bytes.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+key)
		req.Header.Set("Content-Type", "application/json")
		res, err := srv.Client().Do(req)
		if err != nil {
			b.Fatal(err)
		}
		defer res.Body.Close()
		var out map[string]any
		if err := json.NewDecoder(res.Body).Decode(&out); err != nil && err != io.EOF {
			b.Fatal(err)
		}
		if res.StatusCode >= 300 {
			b.Fatalf("%s: %d %v", path, res.StatusCode, out)
		}
		return out
	}
	var script strings.Builder
	script.WriteString("set -e\n")
	for _, commands := range modelTwo {
		script.WriteString(strings.Join(commands, "\n") + "\n")
	}

	var create, steps, shell []time.Duration
	for b.Loop() {
		start := time.Now()
		s := call("/api/v1/sessions", "", map[string]any{"lab": "model"})
		create = append(create, time.Since(start))
		path, key := "/api/v1/sessions/"+s["id"].(string), s["token"].(string)

		start = time.Now()
		for i := range modelTwo {
			call(fmt.Sprintf("%s/steps/s%d/apply", path, i), key, nil)
		}
		steps = append(steps, time.Since(start))

		call(path+"/reset", key, map[string]any{})
		start = time.Now()
		out := call(path+"/exec", key, map[string]any{"node": "host1", "argv": []string{"sh", "-c", script.String()}})
		shell = append(shell, time.Since(start))
		if out["exit_code"] != 0.0 {
			b.Fatalf("the script: %v", out)
		}
		found, err := reg.Find(s["id"].(string), key)
		if err != nil {
			b.Fatal(err)
		}
		if err := reg.Delete(b.Context(), found); err != nil {
			b.Fatal(err)
		}
	}
	median := func(d []time.Duration) time.Duration { slices.Sort(d); return d[len(d)/2] }
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(median(create)), "ms/create")
	b.ReportMetric(ms(median(steps)), "ms/steps")
	b.ReportMetric(ms(median(shell)), "ms/script")
	b.ReportMetric(float64(median(shell))/float64(median(steps)), "script:steps")
}

// BenchmarkReset makes the world anew as it is at the start of each step of
// models 1, 2 and 4, and beside it new sessions, whose worlds have no steps done.
// It reports percentiles in milliseconds over all steps of a lab, and the median
// of the step that takes longest.
func BenchmarkReset(b *testing.B) {
	catalog, err := labs.BuiltIn()
	if err != nil {
		b.Fatal(err)
	}
	reg, _ := serveForBench(b, catalog)
	for _, lab := range []string{"one-namespace", "one-host-bridge", "two-hosts-overlay-tun"} {
		b.Run(lab, func(b *testing.B) {
			var create, all []time.Duration
			steps := map[string][]time.Duration{}
			for b.Loop() {
				began := time.Now()
				s, _, err := reg.Create(b.Context(), lab, "", "en")
				if err != nil {
					b.Fatal(err)
				}
				create = append(create, time.Since(began))
				for _, step := range s.View().Steps {
					// The world before goes out of the way of a learner, not of
					// one who resets without a pause.
					eventually(b, "one world lives", func() bool {
						worlds, err := reg.Host().Worlds(b.Context())
						return err == nil && len(worlds) == 1
					})
					began := time.Now()
					v, err := s.Reset(b.Context(), step.ID)
					if err != nil {
						b.Fatal(err)
					}
					took := time.Since(began)
					if v.Current != step.ID {
						b.Fatalf("reset to %s is at %s", step.ID, v.Current)
					}
					all, steps[step.ID] = append(all, took), append(steps[step.ID], took)
				}
				if err := reg.Delete(b.Context(), s); err != nil {
					b.Fatal(err)
				}
			}
			share := func(d []time.Duration, p float64) float64 {
				slices.Sort(d)
				return d[int(p*float64(len(d)-1))].Seconds() * 1000
			}
			slowest, median := "", 0.0
			for id, took := range steps {
				b.Logf("%s: p50 %.1f ms, p95 %.1f ms", id, share(took, 0.5), share(took, 0.95))
				if m := share(took, 0.5); m > median {
					slowest, median = id, m
				}
			}
			b.Logf("the slowest is %s", slowest)
			b.ReportMetric(share(create, 0.5), "create-p50-ms")
			b.ReportMetric(share(create, 0.95), "create-p95-ms")
			b.ReportMetric(share(all, 0.5), "reset-p50-ms")
			b.ReportMetric(share(all, 0.95), "reset-p95-ms")
			b.ReportMetric(median, "slowest-step-p50-ms")
		})
	}
}
