package greenroom

import (
	"os"
	"strings"
	"testing"
)

func account(t *testing.T) Account {
	endpoint := os.Getenv("GREENROOM_ENDPOINT")
	if endpoint == "" {
		t.Fatal("GREENROOM_ENDPOINT must name a server with --test-api=on")
	}
	made := NewAccount(endpoint)
	t.Cleanup(func() {
		if err := made.Reset(); err != nil {
			t.Error(err)
		}
	})
	return made
}

func TestAParticipantPublishes(t *testing.T) {
	t.Parallel()
	account := account(t)
	stages, err := account.Seed(map[string]any{"stages": []any{map[string]any{"name": "lobby"}}})
	if err != nil {
		t.Fatal(err)
	}
	alice, err := account.Join(stages["lobby"], "alice", true)
	if err != nil || alice.State != "CONNECTED" || !alice.Publishing {
		t.Fatal(alice, err)
	}
	if matched, err := account.WaitForEvent("Participant Published"); err != nil || !matched {
		t.Fatal(matched, err)
	}
}

func TestAnErrorNamesTheMember(t *testing.T) {
	t.Parallel()
	_, err := account(t).Join("no-such-stage", "alice", false)
	if err == nil || !strings.Contains(err.Error(), "stage") {
		t.Fatal(err)
	}
}
