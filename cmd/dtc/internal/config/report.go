package config

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/dtc-project/dtc"
)

// Report is a configuration for people and programs, without secrets.
type Report struct {
	// Settings are their values by name: text, numbers and switches; durations are
	// text. From says where each was set that is not a default.
	Settings     map[string]any               `json:"settings"`
	From         map[string]string            `json:"from"`
	Certificates map[string][]string          `json:"certificates,omitempty"`
	Participants map[string]ParticipantReport `json:"participants"`
}

// ParticipantReport is a participant in a [Report].
type ParticipantReport struct {
	From            string            `json:"from"`
	URL             string            `json:"url"`         // without credentials
	Credentials     bool              `json:"credentials"` // the URL has some
	BearerTokenFile string            `json:"bearer_token_file,omitempty"`
	CAFile          string            `json:"ca_file,omitempty"`
	CertFile        string            `json:"cert_file,omitempty"`
	KeyFile         string            `json:"key_file,omitempty"`
	ServerName      string            `json:"server_name,omitempty"`
	Timing          map[string]string `json:"timing"`
}

// Report returns what the configuration is.
func (c *Config) Report() *Report {
	r := &Report{Settings: map[string]any{}, From: map[string]string{}, Certificates: map[string][]string{}, Participants: map[string]ParticipantReport{}}
	for _, s := range Settings {
		switch v := s.field(c).(type) {
		case *bool:
			r.Settings[s.Name] = *v
		case *int:
			r.Settings[s.Name] = *v
		default:
			r.Settings[s.Name] = s.Text(c)
		}
		if place, ok := c.places[s.Name]; ok {
			r.From[s.Name] = place.String()
		}
	}
	for name, roles := range c.Certificates {
		for _, role := range roles {
			r.Certificates[name] = append(r.Certificates[name], string(role))
		}
	}
	for id, p := range c.Participants {
		u, err := url.Parse(p.URL)
		r.Participants[id] = ParticipantReport{
			From: c.places["participants."+id].String(), URL: p.Address(), Credentials: err == nil && u.User != nil,
			BearerTokenFile: p.BearerTokenFile, CAFile: p.CAFile, CertFile: p.CertFile, KeyFile: p.KeyFile, ServerName: p.ServerName,
			Timing: timingText(p.Timing),
		}
	}
	return r
}

func timingText(t dtc.Timing) map[string]string {
	all := map[string]string{}
	c := &Config{Timing: t}
	for _, s := range Settings {
		if s.Live {
			all[s.Name] = s.Text(c)
		}
	}
	return all
}

// String returns the report as a file that would be understood, with comments that
// say where each thing comes from.
func (r *Report) String() string {
	var b strings.Builder
	for _, s := range Settings {
		value := r.Settings[s.Name]
		if value == "" {
			continue
		}
		from := r.From[s.Name]
		if from == "" {
			from = "default"
		}
		fmt.Fprintf(&b, "%-44s # %s\n", s.Name+": "+scalar(value), from)
	}
	if len(r.Certificates) > 0 {
		b.WriteString("certificates:\n")
		for _, name := range slices.Sorted(maps.Keys(r.Certificates)) {
			fmt.Fprintf(&b, "  %s: [%s]\n", scalar(name), strings.Join(r.Certificates[name], ", "))
		}
	}
	if len(r.Participants) == 0 {
		b.WriteString("participants: {}\n")
		return b.String()
	}
	b.WriteString("participants:\n")
	for _, id := range slices.Sorted(maps.Keys(r.Participants)) {
		p := r.Participants[id]
		fmt.Fprintf(&b, "%-44s # %s\n", "  "+scalar(id)+":", p.From)
		hidden := ""
		if p.Credentials {
			hidden = " # with credentials, which are not shown"
		}
		fmt.Fprintf(&b, "    url: %s%s\n", scalar(p.URL), hidden)
		for _, file := range []struct{ key, value string }{
			{"bearer_token_file", p.BearerTokenFile}, {"ca_file", p.CAFile}, {"cert_file", p.CertFile}, {"key_file", p.KeyFile}, {"server_name", p.ServerName},
		} {
			if file.value != "" {
				fmt.Fprintf(&b, "    %s: %s\n", file.key, scalar(file.value))
			}
		}
		for _, s := range Settings {
			if s.Live && fmt.Sprint(r.Settings[s.Name]) != p.Timing[s.Name] {
				fmt.Fprintf(&b, "    %s: %s\n", s.Name, p.Timing[s.Name])
			}
		}
	}
	return b.String()
}

// scalar writes a value as YAML does.
func scalar(value any) string {
	if text, ok := value.(string); ok {
		if _, err := time.ParseDuration(text); err == nil {
			return text
		}
	}
	text, err := yaml.Marshal(value)
	if err != nil || strings.Count(string(text), "\n") != 1 {
		return strconv.Quote(fmt.Sprint(value))
	}
	return strings.TrimSpace(string(text))
}
