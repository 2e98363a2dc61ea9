package judge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A moment is one line of the plant's truth ledger: everything that was counted up to the end of a step.
type moment struct {
	Step     int                `json:"step"`
	Zones    map[string]int64   `json:"zones_uj"` // by powercap id, never wrapped
	Wraps    int                `json:"wraps"`
	Accounts map[string]float64 `json:"accounts_uj"` // virtual machines by UUID, processes, unseen, idle
	CPU      map[string]float64 `json:"cpu_seconds"`
}

// The accounts that are no virtual machine's.
const (
	processes = "processes"
	unseen    = "unseen"
	idle      = "idle"
)

func readTruth(r io.Reader) ([]moment, error) {
	var all []moment
	for d := json.NewDecoder(r); ; {
		var m moment
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			if len(all) == 0 {
				return nil, errors.New("the truth is empty")
			}
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("step %d of the truth: %w", len(all), err)
		}
		all = append(all, m)
	}
}
