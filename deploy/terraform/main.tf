# Two services, each in its own name; one may call the other.
terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.0"
    }
  }
}

variable "project" {
  type = string
}

variable "region" {
  type = string
}

variable "hello_image" {
  type        = string
  description = "The container of deploy/Dockerfile."
}

variable "front_image" {
  type        = string
  description = "The same with --build-arg EXAMPLE=caller."
}

provider "google" {
  project = var.project
  region  = var.region
}

resource "google_service_account" "front" {
  account_id = "front"
}

resource "google_service_account" "hello" {
  account_id = "hello"
}

resource "google_cloud_run_v2_service" "hello" {
  name             = "hello"
  location         = var.region
  custom_audiences = ["hello"]

  template {
    service_account = google_service_account.hello.email
    containers {
      image = var.hello_image
      env {
        name  = "AUDIENCE"
        value = "hello"
      }
      env {
        name  = "CALLERS"
        value = google_service_account.front.email
      }
      startup_probe {
        http_get {
          path = "/health"
        }
      }
    }
  }
}

# Nobody else: there is no binding for allUsers.
resource "google_cloud_run_v2_service_iam_member" "front_may_call_hello" {
  name     = google_cloud_run_v2_service.hello.name
  location = google_cloud_run_v2_service.hello.location
  role     = "roles/run.invoker"
  member   = google_service_account.front.member
}

resource "google_cloud_run_v2_service" "front" {
  name     = "front"
  location = var.region

  template {
    service_account = google_service_account.front.email
    containers {
      image = var.front_image
      env {
        name  = "HELLO_URL"
        value = google_cloud_run_v2_service.hello.uri
      }
      env {
        name  = "HELLO_AUDIENCE"
        value = "hello"
      }
      startup_probe {
        http_get {
          path = "/health"
        }
      }
    }
  }
}

output "front_url" {
  value = google_cloud_run_v2_service.front.uri
}

output "hello_url" {
  value = google_cloud_run_v2_service.hello.uri
}
