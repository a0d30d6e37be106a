package session

// ForgetChanges lets go of what is kept of the steps' changes, for a test to see how
// much that is.
func (s *Session) ForgetChanges() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rec.Changes = nil
}
