package session

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Memory keeps records for as long as it lives: for proofs and tests.
type Memory struct {
	mu sync.Mutex
	m  map[string][]byte
}

// Put implements Records.
func (m *Memory) Put(_ context.Context, key string, value []byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m == nil {
		m.m = map[string][]byte{}
	}
	m.m[key] = value
	return 0, nil
}

// Get implements Records.
func (m *Memory) Get(_ context.Context, key string) ([]byte, uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.m[key]
	if !ok {
		return nil, 0, fmt.Errorf("no record %q", key)
	}
	return b, 0, nil
}

// Delete implements Records.
func (m *Memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.m, key)
	return nil
}

// Keys implements Records.
func (m *Memory) Keys(context.Context) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.m)), nil
}
