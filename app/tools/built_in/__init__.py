"""The tools that come with Towpath, one module each.

calculator    exact arithmetic
json_extract  a JMESPath over data
requests      http.get, http.request: requests to public addresses
"""
