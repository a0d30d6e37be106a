package jail

func internet() error { return nil }
