// Package parts is the list of what can be plugged in. To add an exporter is one folder, and one line here: its command, its
// section of the configuration, its pre-flight check and its rows in the documentation follow from what the folder brings.
package parts

import (
	"github.com/scaph/scaph/internal/export"
	"github.com/scaph/scaph/internal/export/json"
	"github.com/scaph/scaph/internal/export/prometheus"
	"github.com/scaph/scaph/internal/export/terminal"
)

// Exporters returns all ways out, in the order in which help lists them.
func Exporters() []export.Part {
	return []export.Part{
		terminal.Part(prometheus.WriteText),
		prometheus.Part(),
		json.Part(),
	}
}
