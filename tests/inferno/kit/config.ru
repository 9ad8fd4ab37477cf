require 'inferno'
Inferno::Application.finalize!
run Inferno::Web.app
