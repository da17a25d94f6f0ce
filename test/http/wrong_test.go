package http_test

import (
	"fmt"
	"strings"
	"testing"
)

// plant puts something wrong into a text, where what it replaces stands first.
func plant(t *testing.T, text, good, wrong string) string {
	t.Helper()
	planted := strings.Replace(text, good, wrong, 1)
	if planted == text {
		t.Fatalf("%q does not stand there", good)
	}
	return planted
}

// TestWrongDescription: what is no OpenAPI, or not strict, is not taken for a description.
func TestWrongDescription(t *testing.T) {
	text := string(read(t, "openapi.yaml"))
	for _, plan := range []struct{ why, good, wrong string }{
		// by the schema of OpenAPI
		{"/openapi", "openapi: 3.1.0", "openapi: 3.0.3"},
		{"title", "  title: dtc control API\n", ""},
		{"/livez", "  /livez:", "  livez:"},
		{"/abstract", "      summary: Run a transaction\n", "      abstract: Run a transaction\n"},
		{"/answers", "      responses:\n", "      answers:\n"},
		{"description", "          description: The outcome is durable.\n", ""},
		{"/in'", "          in: query\n", "          in: body\n"},
		{"required", "      in: path\n      required: true\n", "      in: path\n"},
		{"/requestBody", "        required: true\n        content:\n", "        required: true\n        contents:\n"},
		{"/headers/RetryAfter", "    RetryAfter:\n      description: ", "    RetryAfter:\n      explanation: "},
		// by that of JSON Schema
		{"/type", "type: integer", "type: integr"},
		{"/required", "required: [branches]", "required: branches"},
		{"/pattern", `pattern: ^\S+$`, `pattern: ^(\S+$`},
		{"/maxLength", "maxLength: 128", "maxLength: -1"},
		// by what is known here
		{"maxlength is no keyword", "maxLength: 128", "maxlength: 128"},
		{"nullable is no keyword", "type: [boolean, \"null\"]", "type: boolean\n          nullable: true"},
		{"format that nothing checks", "format: date-time", "format: datetime"},
		{"allows what is not described", "additionalProperties: false", "additionalProperties: true"},
		{"refers to nothing", `"#/components/responses/Full"`, `"#/components/responses/Empty"`},
		{"refers to nothing", `"#/components/examples/Waiting"`, `"#/components/examples/Waits"`},
		{"refers to nothing", `"#/components/parameters/Id"`, `"other.yaml#/components/parameters/Id"`},
		{"RunRequst", `"#/components/schemas/RunRequest"`, `"#/components/schemas/RunRequst"`},
		// by YAML and JSON
		{"already defined", "    get:\n      operationId: listTransactions", "    post:\n      operationId: listTransactions"},
		{"unsupported type", `"400": {$ref`, `400: {$ref`},
	} {
		_, err := parse([]byte(plant(t, text, plan.good, plan.wrong)))
		if err == nil || !strings.Contains(err.Error(), plan.why) {
			t.Errorf("with %q: want an error about %q: %v", plan.wrong, plan.why, err)
		}
	}
}

// TestWrongExample: an example that is none by its schema, or is missing, is found.
func TestWrongExample(t *testing.T) {
	text := string(read(t, "openapi.yaml"))
	for _, plan := range []struct{ why, good, wrong string }{
		{"", "openapi: 3.1.0", "openapi: 3.1.1"},
		{"lacks a summary", "operationId: runTransaction", "operationId: ''"},
		{"completionwait", "                  completion_wait: 250ms\n", "                  completionwait: 250ms\n"},
		{"/branches/1", "                    - participant: payment\n", "                    - participants: payment\n"},
		{"pattern", "prepare_timeout: 5s", "prepare_timeout: five"},
		{"/heuristic", "        outcome: heuristic\n", "        outcome: heuristic\n        heuristic: true\n"},
		{"missing property 'branch'", `value: {xid: dtc.mfrggzdfmztwq2lk.7-9f3a10cc.42, branch: payment}`, `value: {xid: dtc.mfrggzdfmztwq2lk.7-9f3a10cc.42}`},
		{"POST /v1/transactions 400", "code: bad_request, field: timeout}", "code: internal, field: timeout}"},
		{"schema Time", `examples: ["2025-03-01T12:00:00.000Z"]`, `examples: ["2025-02-30T12:00:00.000Z"]`},
		{"state has no example", "          example: committing\n", ""},
		{"state", "          example: committing\n", "          example: committing it\n"},
		{"limit", "      example: 100\n", "      example: '100'\n"},
		{"Retry-After", "      example: 1\n", "      example: 0\n"},
		{"text/plain has no example", "              examples:\n                ok: {value: \"ok\\n\"}\n", ""},
		{"text/plain has no example", "ok: {value: \"ok\\n\"}", "ok: {summary: it is}"},
		{"lacks a description", "      description: How many there may be in a page.\n", ""},
	} {
		s, err := parse([]byte(plant(t, text, plan.good, plan.wrong)))
		if err != nil {
			t.Errorf("with %q: %v", plan.wrong, err)
			continue
		}
		var found strings.Builder
		s.examples(func(format string, args ...any) { fmt.Fprintf(&found, format+"\n", args...) })
		if plan.why == "" && found.Len() > 0 || !strings.Contains(found.String(), plan.why) || plan.why != "" && found.Len() == 0 {
			t.Errorf("with %q: want one about %q: %s", plan.wrong, plan.why, &found)
		}
	}
}
