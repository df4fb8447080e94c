"""Actions a workflow may take: declared tools, called under a timeout, a size cap and an effect key.

tool       Tool, Call: what a tool says of itself, and what it is told at each call
registry   the tools of this process: built in, and custom ones by entry point
calling    one call: arguments checked, the effect's record, time and size bounded, the result checked
grants     which tools a tenant may use, with which arguments
effects    what began and what is done of keyed and unsafe calls: the only writer of tool_call
built_in   calculator, json.extract, http.get, http.request
config     ToolsConfig
errors     ToolFailed, ToolInDoubt, UnknownTool and the rest of what ends a call

Owns tool_call, tool_grant. Knows of workflows only their ids.
"""
