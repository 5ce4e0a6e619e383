// Package greenroom controls a greenroom server in tests, through its HTTP test API.
package greenroom

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/url"
)

// Account is an account of a server with --test-api=on. Its access key is its number, with the secret "test".
type Account struct {
	Endpoint, Number, Region string
}

// NewAccount returns an account of its own for a test.
func NewAccount(endpoint string) Account {
	return Account{endpoint, fmt.Sprintf("%012d", 100_000_000_000+rand.Int63n(900_000_000_000)), "us-east-1"}
}

// Error is an error response of the test API.
type Error struct {
	Status        int
	Code, Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s (status %d)", e.Code, e.Message, e.Status) }

// Call sends a request to the test API, and decodes the response into answer, if that is not nil.
func (a Account) Call(method, path string, body, answer any) error {
	var content []byte
	var err error
	if body != nil {
		if content, err = json.Marshal(body); err != nil {
			return err
		}
	}
	query := url.Values{"account": {a.Number}, "region": {a.Region}}
	request, err := http.NewRequest(method, a.Endpoint+"/_greenroom/test"+path+"?"+query.Encode(), bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err = io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		failed := &Error{Status: response.StatusCode, Code: response.Header.Get("x-amzn-errortype")}
		_ = json.Unmarshal(content, failed)
		return failed
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(content, answer)
}

// Participant is a simulated participant.
type Participant struct {
	ID         string `json:"participantId"`
	State      string
	Publishing bool
}

// Seed creates resources; the answer has the ARNs of the stages by name.
func (a Account) Seed(document any) (map[string]string, error) {
	var made struct {
		Stages map[string]struct{ ARN string }
	}
	if err := a.Call("POST", "/seed", document, &made); err != nil {
		return nil, err
	}
	arns := map[string]string{}
	for name, stage := range made.Stages {
		arns[name] = stage.ARN
	}
	return arns, nil
}

// Join lets a simulated participant join a stage.
func (a Account) Join(stage, userID string, publish bool) (Participant, error) {
	var joined Participant
	err := a.Call("POST", "/participants", map[string]any{"stage": stage, "userId": userID, "publish": publish}, &joined)
	return joined, err
}

// WaitForEvent waits up to five seconds for an event of this name.
func (a Account) WaitForEvent(name string) (bool, error) {
	pattern := map[string]any{"detail": map[string]any{"event_name": []string{name}}}
	var waited struct{ Matched bool }
	err := a.Call("POST", "/wait", map[string]any{"event": pattern, "timeoutSeconds": 5}, &waited)
	return waited.Matched, err
}

// Reset deletes all resources of the account.
func (a Account) Reset() error { return a.Call("POST", "/reset", nil, nil) }
