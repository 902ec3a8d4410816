// Errors as clients of OpenAI's API read them:
//   {"error": {"message": ..., "type": ..., "param": the field or null, "code": ... or null}}
#pragma once

#include <string>

#include "dsa/status.h"

#include "server/http.h"

namespace server {

struct ApiError {
  int status = 400;  // of HTTP
  std::string message;
  std::string type = "invalid_request_error";
  std::string param;  // "": none
  std::string code;   // "": none
};

std::string error_json(const ApiError& error);
HttpResponse error_response(const ApiError& error);
HttpResponse error_response(int status, const std::string& message, const std::string& type);

// invalid argument, corruption, unsupported 400; not found 404; exhausted 429; the rest 500. A
// message that begins with the path of a field names the param.
ApiError api_error(const dsa::Status& status);

}  // namespace server
